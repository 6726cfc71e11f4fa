"""Files to pictures: decoding, and a data set that keeps what it has decoded."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from .batches import ArrayDataset
from .core import to_device
from .memory import memory_is_free
from .transforms import CropType, Transforms

__all__ = ["FilesDataset", "open_image"]

POOL = ThreadPoolExecutor(os.cpu_count())  # Pillow releases Python's lock while it decodes
TINY = 5_000  # bytes; of smaller files, threads would mostly wait for Python's lock
ON_DEVICE = 2**29  # bytes; pictures of one size that take less become one tensor on the device
MOST_BYTES = 2**29  # that decoding one picture may take, as 134 million pixels in RGB do
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def picture_names(folder: Path, root: Path) -> list[str]:
    """Names, relative to `root`, of the pictures in a folder, sorted; there must be some."""
    files = [file for file in folder.glob("[!.]*") if file.suffix.lower() in PICTURES]
    if not files:
        raise FileNotFoundError(f"{folder}: no pictures ({', '.join(PICTURES)}) in this folder")
    return [file.relative_to(root).as_posix() for file in sorted(files)]


# One file


def read_picture(file: Path, side: int = 0) -> Image.Image:
    """A file as RGB, turned upright as its EXIF data says; every picture is read here.

    Given `side`, a large JPEG is decoded at a half, a quarter or an eighth, but its sides are
    2 * `side` or more: enough to resize from, at a fraction of time and memory. FileNotFoundError
    or ValueError, in one line that names the file; also before a picture is decoded that claims to
    be so large that it would take more than half a gigabyte.
    """
    try:
        with Image.open(file) as im:
            claimed = im.size
            if side:
                im.draft("RGB", (2 * side, 2 * side))
            _check_size(im, claimed, file.stat().st_size)
            ImageOps.exif_transpose(im, in_place=True)
            im.load()
            return _rgb(im)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such picture") from None
    except Image.DecompressionBombError as e:  # it claims to be huge
        raise _unreadable(file, e) from None
    except (OSError, SyntaxError, ValueError) as e:
        raise _unreadable(file, e) from None


def _check_size(im: Image.Image, claimed: tuple[int, int], file_size: int) -> None:
    """ValueError, before anything is decoded, for what takes too much memory.

    `im` has the size that it is decoded at; `claimed` is the whole picture's.
    """
    pixels = math.prod(claimed)
    needed = _bytes_a_pixel(im) * math.prod(im.size)
    if im.format in ("JPEG", "MPO"):
        if pixels > 64 * 8 * file_size:  # a block of 8 x 8 takes a bit or more
            raise ValueError(f"{_times(claimed)} pixels cannot be in {file_size:,} bytes")
        if "progressive" in im.info:  # all coefficients are held at full size, 2 bytes each
            needed += 2 * 3 * pixels
    if needed > MOST_BYTES:
        raise ValueError(
            f"{_times(claimed)} pixels would take {needed / 2**20:,.0f} MB, "
            f"more than {MOST_BYTES / 2**20:,.0f} MB"
        )


def _bytes_a_pixel(im: Image.Image) -> int:
    """What Pillow needs to decode it, and to make RGB of it."""
    if im.format == "WEBP":
        return 12  # the decoder has two pictures of its own
    return 4 if im.mode == "RGB" else 8


def _times(size: tuple[int, int]) -> str:
    width, height = size
    return f"{width:,} x {height:,}"


def _unreadable(file: Path, e: Exception) -> ValueError:
    return ValueError(f"{file}: not a readable picture ({e}); replace or delete it")


def _rgb(im: Image.Image) -> Image.Image:
    if im.mode.startswith("I;16"):  # grey of 16 bits: Pillow would make white of nearly all
        im = Image.fromarray((np.asarray(im) >> 8).astype(np.uint8))
    return im if im.mode == "RGB" else im.convert("RGB")


def open_image(file: str | Path) -> np.ndarray:
    """One picture as a float32 array (h, w, 3), red green blue in 0..1. Used in lesson 1."""
    return np.asarray(read_picture(Path(file)), np.float32) / 255


# Many files


class Stamp(NamedTuple):
    """What tells a file from another of its name."""

    size: int  # bytes
    changed: int  # nanoseconds since 1970

    @classmethod
    def of(cls, file: Path) -> "Stamp":
        """The stamp of a file as it is now. FileNotFoundError if there is none."""
        try:
            found = file.stat()
        except FileNotFoundError:
            raise FileNotFoundError(f"{file}: no such picture") from None
        return cls(found.st_size, found.st_mtime_ns)


class FilesDataset(ArrayDataset):
    """Pictures path/FNAME and their targets `y`. Used in lessons 1, 2 and 7.

    A picture is decoded and resized once, by threads, then kept while a quarter of the memory is
    free. If all fit into half a gigabyte and have one size, as those of CIFAR-10, they become one
    tensor on the device. Its way from file to batch:

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

    def batch(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `idx`, float32 (n, 3, sz, sz), and their targets, on the device."""
        pictures = self._pictures(idx.tolist()) if self.stacked is None else self.stacked[idx]
        x = self.tfm.batch(self.tfm.window(pictures))  # (n, 3, sz, sz)
        return x, to_device(self.arrays[-1][idx])

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
