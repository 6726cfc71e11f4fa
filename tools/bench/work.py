"""What every contender works on: pictures, tables and texts of the lessons' shapes and sizes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from course_utils.core import DEVICE
from PIL import Image
from torch import Tensor, nn

from tools.cells import definitions, execute
from tools.run import NOTEBOOKS

__all__ = [
    "Epoch",
    "LanguageModel",
    "Pictures",
    "Streams",
    "draw_pictures",
    "find_pictures",
    "lesson",
    "random_table",
    "random_tokens",
    "resnet2",
    "walk",
]

GPU = DEVICE.type == "cuda"

Epoch = Callable[[], Any]

# Pictures to load: photos, or drawn ones that take as many bits

SZ = 224  # pixels that the network sees
MAX_ZOOM = 1.1
SIDE = round(SZ * MAX_ZOOM)  # pixels of the shortest side before augmentation


def draw_picture(rng: np.random.Generator) -> Image.Image:
    """Soft colours, edges, sensor noise: as JPEG 2.1 bits a pixel, as photos of Dogs vs. Cats.

    The shortest side has 256 pixels.
    """
    longer = int(rng.integers(256, 385))
    upright = rng.choice([False, True])
    size = (256, longer) if upright else (longer, 256)
    soft = _coloured(rng, 6).resize(size, Image.Resampling.BICUBIC)
    blocks = _coloured(rng, 9).resize(size, Image.Resampling.NEAREST)
    pixels = np.asarray(Image.blend(soft, blocks, 0.3), np.float32)  # (height, width, 3)
    grain = rng.normal(0, 5, pixels.shape[:2]).astype(np.float32)  # (height, width)
    noisy = pixels + grain[..., None]
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _coloured(rng: np.random.Generator, n: int) -> Image.Image:
    """n x n random colours."""
    return Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8))


def draw_pictures(folder: Path, count: int) -> None:
    """Write `count` JPEG files into two class folders, the same at every call."""
    rng = np.random.default_rng(0)
    for i in range(count):
        file = folder / ("odd" if i % 2 else "even") / f"{i:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(rng).save(file, quality=87)


def find_pictures(folder: Path, count: int) -> list[Path]:
    """The first `count` JPEG files below `folder`, sorted. ValueError if there are too few."""
    files = sorted(folder.rglob("*.jpg"))
    if len(files) < count:
        raise ValueError(f"{folder} holds {len(files)} .jpg files: ask for that many with --count")
    return files[:count]


@dataclass(frozen=True)
class Pictures:
    """Files, the name of whose folder is their class, and how many make a batch."""

    files: list[Path]
    bs: int

    @property
    def labels(self) -> np.ndarray:
        """Class numbers: the places of the folders' names in their sorted list."""
        return np.unique([file.parent.name for file in self.files], return_inverse=True)[1]


def walk(make_loader: Callable[[Pictures], Iterable], pictures: Pictures) -> Epoch:
    """An epoch that hands out batches and puts them on the device, no more.

    One batch of another loader goes before: libraries load and threads start outside the clock.
    """
    for _ in make_loader(Pictures(pictures.files[: pictures.bs], pictures.bs)):
        pass
    loader = make_loader(pictures)

    def epoch() -> None:
        for batch in loader:
            batch[0].to(DEVICE)

    return epoch


# CIFAR-10 and lesson 7's network

STATS = ([0.4914, 0.48216, 0.44653], [0.24703, 0.24349, 0.26159])


def lesson(name: str) -> Any:
    """The definitions of a notebook, as a module."""
    return execute(definitions(NOTEBOOKS / f"{name}.ipynb"))


def resnet2() -> nn.Module:
    """The last network of lesson 7, from its notebook."""
    return lesson("lesson7-cifar10").Resnet2([16, 32, 64, 128, 256], 10, 0.2)


# A table of the shape of lesson 3's

ROWS = 60_000
VALID = 2_000  # of them, the first, to validate on
CARDINALITIES = [1116, 8, 4, 13, 32, 3, 26, 27, 5, 4, 4, 24, 9, 13, 53, 22, 7, 7, 4, 4, 9, 9]
EMB_SZS = [(c, min(50, (c + 1) // 2)) for c in CARDINALITIES]
CATEGORIES = [f"c{i}" for i in range(len(CARDINALITIES))]
NUMBERS = [f"x{i}" for i in range(18)]


def random_table() -> pd.DataFrame:
    """ROWS rows with the columns of lesson 3, and a target `y`, logarithms of sales."""
    rng = np.random.default_rng(0)
    columns: dict[str, np.ndarray] = {}
    for name, cardinality in zip(CATEGORIES, CARDINALITIES, strict=True):
        columns[name] = rng.integers(0, cardinality, ROWS)
    for name in NUMBERS:
        columns[name] = rng.normal(size=ROWS).astype(np.float32)
    columns["y"] = (8 + rng.random(ROWS)).astype(np.float32)
    return pd.DataFrame(columns)


# Texts of lessons 4 and 6: on a CPU in the sizes of the sample, on a GPU in those of the full data


@dataclass(frozen=True)
class Streams:
    """Random tokens to train on, a tenth as many to validate on, and how they are read."""

    tokens: int
    n_words: int
    bs: int
    bptt: int


@dataclass(frozen=True)
class LanguageModel:
    """The sizes of an AWD-LSTM."""

    emb_sz: int
    n_hid: int
    n_layers: int


WORDS = Streams(1_000_000, 30_000, 64, 70) if GPU else Streams(60_000, 5_000, 32, 20)
CHARS = Streams(500_000 if GPU else 60_000, 84, 64, 8)
AWD = LanguageModel(200, 500, 3) if GPU else LanguageModel(50, 100, 3)
N_FAC = 42  # numbers that stand for a character
N_HIDDEN = 512 if GPU else 128  # of lesson 6's LSTM


def random_tokens(streams: Streams) -> tuple[Tensor, Tensor]:
    """Tokens to train and to validate on; both begin with each word once: there are no others."""
    rng = np.random.default_rng(0)
    words = np.arange(streams.n_words)
    train = np.concatenate([words, rng.integers(0, streams.n_words, streams.tokens)])
    valid = np.concatenate([words, rng.integers(0, streams.n_words, streams.tokens // 10)])
    return torch.from_numpy(train), torch.from_numpy(valid)
