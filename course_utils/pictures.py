"""Files to pictures: decoding, and a data set that keeps what it has decoded."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from .batches import ArrayDataset
from .core import to_device
from .decoded import decoded_array
from .memory import memory_is_free
from .reading import read_picture
from .transforms import CropType, Transforms

__all__ = ["FilesDataset", "open_image"]

POOL = ThreadPoolExecutor(os.cpu_count())  # Pillow releases Python's lock while it decodes
TINY = 5_000  # bytes; of smaller files, threads would mostly wait for Python's lock
MANY = 2_000  # tiny files that are decoded at once, as `decoded` does
ON_DEVICE = 2**29  # bytes; pictures of one size that take less become one tensor on the device
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def picture_names(folder: Path, root: Path) -> list[str]:
    """Names, relative to `root`, of the pictures in a folder, sorted; there must be some."""
    files = [file for file in folder.glob("[!.]*") if file.suffix.lower() in PICTURES]
    if not files:
        raise FileNotFoundError(f"{folder}: no pictures ({', '.join(PICTURES)}) in this folder")
    return [file.relative_to(root).as_posix() for file in sorted(files)]


# One file


def open_image(file: str | Path) -> np.ndarray:
    """One picture as a float32 array (h, w, 3), red green blue in 0..1. Used in lesson 1."""
    return np.asarray(read_picture(Path(file)), np.float32) / 255


# Many files


class Stamp(NamedTuple):
    """What tells a file from another of its name."""

    size: int  # bytes
    changed: int  # nanoseconds since 1970

    @classmethod
    def of(cls, file: str | Path) -> "Stamp":
        """The stamp of a file as it is now. FileNotFoundError if there is none."""
        try:
            found = os.stat(file)
        except FileNotFoundError:
            raise FileNotFoundError(f"{file}: no such picture") from None
        return cls(found.st_size, found.st_mtime_ns)


class FilesDataset(ArrayDataset):
    """Pictures path/FNAME and their targets `y`. Used in lessons 1, 2 and 7.

    A picture is decoded and resized once, by threads, then kept while a quarter of the memory is
    free. If all fit into half a gigabyte and have one size, as those of CIFAR-10, they become one
    tensor on the device. Many tiny files become it before the first batch: these are decoded all at
    once, and the next data set or run finds them decoded. The way from file to batch:

        read_picture    file to RGB, upright
        tfm.prepare     uint8 (3, h, w), the shortest side `tfm.side`: this is kept
        tfm.window      (n, 3, side, side)
        tfm.batch       float32 (n, 3, sz, sz), augmented, normalised

    Files that change later are not read again: make another data set. ValueError for no files,
    and for another number of targets.
    """

    tfm: Transforms  # never None here

    def __init__(self, fnames: Sequence[str], y: Any, path: Path, tfm: Transforms) -> None:
        super().__init__(y)  # the targets are its only array
        if len(fnames) == 0:
            raise ValueError(f"{path}: a data set is empty: check its folder or val_idxs")
        if len(fnames) != len(self.y):
            raise ValueError(f"{path}: {len(fnames)} pictures, but {len(self.y)} targets")
        self.fnames = list(fnames)
        self.path = Path(path)
        self._tfm = tfm
        self.kept: dict[int, Tensor] = {}  # row to prepared picture
        self.stamps: dict[int, Stamp] = {}  # row to its file, as it was when the picture was kept
        self.stacked: Tensor | None = None  # all pictures, on the device; `kept` is empty then
        self._begun = False

    def batch(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `idx`, float32 (n, 3, sz, sz), and their targets, on the device."""
        if not self._begun:
            self._begin()
        pictures = self._pictures(idx.tolist()) if self.stacked is None else self.stacked[idx]
        x = self.tfm.batch(self.tfm.window(pictures))  # (n, 3, sz, sz)
        return x, to_device(self.arrays[-1][idx])

    def _begin(self) -> None:
        """Many tiny files of one size become one tensor before the first batch, if they fit."""
        self._begun = True
        least = len(self) * 3 * self.tfm.side**2  # bytes, once they are prepared
        if len(self) < MANY or least >= ON_DEVICE or not memory_is_free(after=ON_DEVICE):
            return
        stamps = self._tiny_stamps()
        if not stamps:
            return
        decoded = decoded_array(self.path, self.fnames, stamps, self.tfm.side)
        if decoded is None:
            return
        size = len(self) * self.tfm.prepare(decoded[0]).nbytes
        if size < ON_DEVICE and memory_is_free(after=size):
            prepared = self.tfm.prepare(decoded)  # (n, 3, h, w), in memory (n, h, w, 3)
            self.stacked = to_device(prepared).contiguous()
            self.stamps = dict(enumerate(stamps))

    def _tiny_stamps(self) -> list[Stamp]:
        """The stamps of all files, as they are now; none as soon as one is not tiny."""
        stamps = []
        for name in self.fnames:
            stamp = Stamp.of(os.path.join(self.path, name))  # half a Path's time
            if stamp.size >= TINY:
                return []
            stamps.append(stamp)
        return stamps

    def _pictures(self, idx: list[int]) -> list[Tensor]:
        """Prepared pictures: those kept, and those decoded now, which are kept if there is room."""
        rows = [range(len(self))[i] for i in idx]  # -1 is the last
        new = [row for row in rows if row not in self.kept]
        stamps = {row: Stamp.of(self._file(row)) for row in new}
        decoded = self._decoded(stamps)
        pictures = [decoded[row] if row in decoded else self.kept[row] for row in rows]
        if decoded and memory_is_free():
            self.kept |= decoded
            self.stamps |= stamps
            self._stack_if_small()
        return pictures

    def _decoded(self, stamps: dict[int, Stamp]) -> dict[int, Tensor]:
        """The prepared pictures of some rows; by threads, unless the files are tiny."""
        tiny = all(stamp.size < TINY for stamp in stamps.values())
        pictures = map(self._prepared, stamps) if tiny else POOL.map(self._prepared, stamps)
        return dict(zip(stamps, pictures, strict=True))

    def _prepared(self, row: int) -> Tensor:
        """Picture `row`, decoded and resized: uint8 (3, h, w)."""
        picture = read_picture(self._file(row), self.tfm.side)
        pixels = TF.pil_to_tensor(picture)  # (3, h, w), in memory (h, w, 3)
        prepared = self.tfm.prepare(pixels)
        if self.tfm.crop is CropType.CENTER:
            return prepared.contiguous()  # else all that was cut off would be kept with it
        return prepared

    def _file(self, row: int) -> Path:
        return self.path / self.fnames[row]

    def _stack_if_small(self) -> None:
        """Once all pictures are kept, make one tensor of them if they are small and of one size."""
        if len(self.kept) < len(self):
            return
        pictures = [self.kept[row] for row in range(len(self))]
        size = sum(picture.nbytes for picture in pictures)
        one_size = len({picture.shape for picture in pictures}) == 1
        if one_size and size < ON_DEVICE and memory_is_free(after=size):
            self.stacked = to_device(torch.stack(pictures))  # (n, 3, h, w)
            self.kept = {}

    def contents(self) -> Any:
        """What identifies the inputs: name, size and time of change of each file, as read."""
        stamps = [self.stamps.get(row) or Stamp.of(self._file(row)) for row in range(len(self))]
        return [(name, *stamp) for name, stamp in zip(self.fnames, stamps, strict=True)]
