"""Files to pictures: decoding, and a data set that keeps what it has decoded."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import io
from torchvision.transforms.v2 import functional as TF

from .batches import ArrayDataset
from .core import to_device
from .transforms import Transforms

__all__ = ["FilesDataset", "open_image"]


POOL = ThreadPoolExecutor(os.cpu_count())  # Pillow releases Python's lock while it decodes
TINY = 5_000  # bytes; files smaller than that are read one by one, threads would mostly wait for Python's lock
ON_DEVICE = 2**29  # bytes; pictures of one size that take less become one tensor on the device
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def picture_names(folder: Path, root: Path) -> list[str]:
    """Names, relative to `root`, of the pictures in a folder, sorted; there must be some."""
    if not (files := sorted(p for p in folder.glob("[!.]*") if p.suffix.lower() in PICTURES)):
        raise FileNotFoundError(f"{folder}: no pictures ({', '.join(PICTURES)}) in this folder")
    return [p.relative_to(root).as_posix() for p in files]


def read_picture(file: Path, side: int = 0) -> Image.Image:
    """Decode one file, turned upright as its EXIF data says; a large JPEG at 2 * `side` or more."""
    try:
        with Image.open(file) as im:
            if side:
                im.draft("RGB", (2 * side, 2 * side))
            ImageOps.exif_transpose(im, in_place=True)
            im.load()
            if im.mode.startswith("I;16"):  # Pillow would make white of all but the darkest
                im = Image.fromarray((np.asarray(im) >> 8).astype(np.uint8))
            return im if im.mode == "RGB" else im.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such picture") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as e:  # the last: it claims to be huge
        raise ValueError(f"{file}: not a readable picture ({e}); replace or delete it") from None


def open_image(file: str | Path) -> np.ndarray:
    """One picture as a float32 array (h, w, 3), red green blue in 0..1. Used in lesson 1."""
    return np.asarray(read_picture(Path(file)), np.float32) / 255


class FilesDataset(ArrayDataset):
    """Pictures path/FNAME, decoded and resized once by threads, then kept in memory while a quarter of it is free."""

    def __init__(self, fnames: Sequence[str], y: Any, path: Path, tfm: Transforms) -> None:
        super().__init__(y)
        self.fnames, self.path, self.tfm = list(fnames), Path(path), tfm
        self.kept: dict[int, Tensor] = {}

    def batch(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `idx`, float (n, 3, sz, sz), and their targets, on the device."""
        if len(self.arrays) == 2:
            return super().batch(idx)
        rows = [range(len(self))[i] for i in idx.tolist()]  # -1 is the last
        missing = [i for i in rows if i not in self.kept]
        files = [self.path / self.fnames[i] for i in missing]
        tiny = missing and files[0].exists() and files[0].stat().st_size < TINY
        decoded = (map if tiny else POOL.map)(self._read, files)
        new = {i: self.tfm.prepare(p) for i, p in zip(missing, decoded, strict=True)}
        pictures = [new[i] if i in new else self.kept[i] for i in rows]
        if new and (memory := psutil.virtual_memory()).available > memory.total / 4:
            self.kept |= new
            self._stack()
        return self.tfm.batch(self.tfm.window(pictures)), to_device(self.arrays[-1][idx])

    def _stack(self) -> None:
        """Make one tensor of the pictures, once all are kept, if they are small and of one size (CIFAR-10, say)."""
        pictures = [self.kept[i] for i in range(len(self))] if len(self.kept) == len(self) else []
        if len({p.shape for p in pictures}) == 1 and sum(p.nbytes for p in pictures) < ON_DEVICE:
            self.arrays.insert(0, to_device(torch.stack(pictures)))
            self.kept = {}

    def _read(self, file: Path) -> Tensor:
        """A picture (3, h, w). torchvision is fastest at JPEG; Pillow does what is large, broken or of another kind."""
        if (
            file.suffix.lower() in (".jpg", ".jpeg")
            and file.exists()
            and file.stat().st_size < 500_000
        ):
            with suppress(
                RuntimeError, AttributeError
            ):  # torchvision means to drop its decoder some day
                return io.decode_jpeg(
                    io.read_file(str(file)), io.ImageReadMode.RGB, apply_exif_orientation=True
                )
        return TF.pil_to_tensor(read_picture(file, self.tfm.side))

    def contents(self) -> Any:
        """What identifies the inputs: name, size in bytes and time of change of each file."""
        return [
            (n, s.st_size, s.st_mtime_ns) for n in self.fnames for s in [(self.path / n).stat()]
        ]
