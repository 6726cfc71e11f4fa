"""Data sets that hand out whole batches, and the loader that walks through them.

No per-item collation and no worker processes: arrays are sliced; pictures are decoded once by a thread pool, kept in
memory as small uint8 tensors, and augmented as batches on the device.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from .core import DEVICE, T, to_np
from .transforms import Transforms

__all__ = ["ArrayDataset", "BatchLoader", "FilesDataset", "open_image"]

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


@cache
def pool() -> ThreadPoolExecutor:
    """Threads that decode pictures, one a core (Pillow releases Python's lock while it decodes)."""
    return ThreadPoolExecutor(os.cpu_count())


def picture_names(root: Path, folder: str) -> list[str]:
    """Names, relative to `root`, of the pictures in root/folder, sorted; there must be some."""
    names = sorted(f"{folder}/{p.name}" for p in (root / folder).iterdir() if p.suffix.lower() in PICTURES)
    if not names:
        raise FileNotFoundError(f"{root / folder}: no pictures ({', '.join(PICTURES)}) in this folder")
    return names


def read_picture(file: Path, side: int = 0) -> Image.Image:
    """Decode one file, turned upright as its EXIF data says; a large JPEG at 2 * `side` or more."""
    try:
        with Image.open(file) as im:
            if side:
                im.draft("RGB", (2 * side, 2 * side))
            return ImageOps.exif_transpose(im).convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such picture") from None
    except (OSError, SyntaxError, ValueError) as e:
        raise ValueError(f"{file}: not a readable picture ({e}); replace or delete it") from None


def open_image(file: str | Path) -> np.ndarray:
    """One picture as a float32 array (h, w, 3), red green blue in 0..1. Used in lesson 1."""
    return np.asarray(read_picture(Path(file)), np.float32) / 255


class ArrayDataset:
    """Arrays of equal length in memory. The last one is the target `y`.

    With `tfm`, the first holds pictures, uint8 or float in 0..1, (n, 3, h, w) or (n, h, w, 3).
    """

    def __init__(self, *arrays: Any, tfm: Transforms | None = None) -> None:
        self.arrays, self.tfm = [T(a) for a in arrays], tfm
        if len({len(a) for a in self.arrays}) > 1:
            raise ValueError(f"arrays differ in length: {[len(a) for a in self.arrays]}")
        if tfm is not None:
            pictures = torch.as_tensor(arrays[0])
            self.arrays[0] = tfm.prepare(pictures if pictures.shape[1] == 3 else pictures.permute(0, 3, 1, 2))

    def __len__(self) -> int:
        return len(self.arrays[-1])

    @property
    def y(self) -> np.ndarray:
        """The targets, (n,) or (n, c)."""
        return to_np(self.arrays[-1])

    def batch(self, idx: Tensor) -> tuple[Tensor, ...]:
        """Rows `idx` of every array, on the device, the pictures transformed."""
        first, *rest = (a[idx] for a in self.arrays)
        first = first.to(DEVICE) if self.tfm is None else self.tfm.batch(self.tfm.window(first))
        return first, *(a.to(DEVICE) for a in rest)

    def __getitem__(self, i: int) -> tuple:
        """Item i as the network sees it: (x, …, y), arrays without the batch axis."""
        return tuple(a[0] for a in to_np(self.batch(torch.tensor([i]))))

    def contents(self) -> Any:
        """What identifies the inputs: the arrays themselves."""
        return to_np(self.arrays[:-1])

    def denorm(self, x: Any) -> np.ndarray:
        """Normalised pictures back to (…, h, w, 3) in 0..1, for imshow."""
        return self.tfm.denorm(x)


class FilesDataset(ArrayDataset):
    """Pictures in files, decoded and resized once, then kept in memory.

    `fnames` are relative to `path`; `y` holds a class number, a row of 0/1, or a float for each. The cache grows up to
    half of the free memory: further pictures are decoded every time.
    """

    def __init__(self, fnames: Sequence[str], y: Any, path: Path, tfm: Transforms) -> None:
        super().__init__(y)
        self.fnames, self.path, self.tfm = list(fnames), Path(path), tfm
        self.kept: dict[int, Tensor] = {}
        self.room = psutil.virtual_memory().available // 2

    def batch(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures `idx`, float (n, 3, sz, sz), and their targets, on the device."""
        rows = idx.tolist()
        if all(i in self.kept for i in rows):
            pictures = [self.kept[i] for i in rows]
        else:
            pictures = list(pool().map(self._read, rows))
        return self.tfm.batch(self.tfm.window(pictures)), self.arrays[-1][idx].to(DEVICE)

    def _read(self, i: int) -> Tensor:
        if i in self.kept:
            return self.kept[i]
        picture = TF.pil_to_tensor(self.tfm.prepare(read_picture(self.path / self.fnames[i], self.tfm.side)))
        self.room -= picture.nbytes
        if self.room > 0:
            self.kept[i] = picture
        return picture

    def contents(self) -> Any:
        """What identifies the inputs: name, size in bytes and time of change of each file."""
        stats = [(self.path / n).stat() for n in self.fnames]
        return [(n, s.st_size, s.st_mtime_ns) for n, s in zip(self.fnames, stats, strict=True)]


class BatchLoader:
    """Iterates over a data set in batches (x, …, y) on the device; reshuffles at each pass."""

    def __init__(self, dataset: ArrayDataset, bs: int, shuffle: bool = False) -> None:
        if bs < 1:
            raise ValueError(f"the batch size must be 1 or more, not {bs}")
        self.dataset, self.bs, self.shuffle = dataset, bs, shuffle

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.bs)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        return (self.dataset.batch(idx) for idx in order.split(self.bs))
