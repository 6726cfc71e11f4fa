"""Stand-in for Kaggle's Planet: satellite tiles with its 17 labels, drawn here.

What clouds hide keeps its label, as in the competition: a tile with "road" may show hardly any. So
nobody can be right about every label.

Lengths are in sides of the tile, 0 to 1. Colours are from 0 to 255, as the real tiles have them.
A field is an array (SIDE, SIDE) of floats, a mask a field from 0 to 1.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from .drawing import Field, Rng

__all__ = ["COUNTS", "GROUND", "SIDE", "VERSION", "WEATHER", "build", "draw", "labels"]

VERSION: int = 1
SIDE = 128  # pixels; the real tiles have 256
COUNTS = {"train": 900, "test": 40}
Y, X = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE  # the middle of each pixel

# Masks of shapes anywhere on the tile


def octaves(rng: Rng, *cells: int) -> Field:
    """A smooth random field around 0: for each number of cells a side, half as strong each time."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for i, n in enumerate(cells):
        grid = Image.fromarray(rng.normal(0, 1, (n, n)).astype(np.float32))
        smooth = grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        total = total + np.asarray(smooth) / 2**i
    return total


def along_and_across(rng: Rng) -> tuple[Field, Field]:
    """How far each pixel lies along and across a random direction from a random place."""
    x, y = rng.uniform(0.2, 0.8, 2)
    angle = rng.random() * np.pi
    cos, sin = np.cos(angle), np.sin(angle)
    return (X - x) * cos + (Y - y) * sin, (Y - y) * cos - (X - x) * sin


def inside(depth: Field) -> Field:
    """A mask of where depth is above 0, with soft edges."""
    return (50 * depth + 0.5).clip(0, 1)


def blob(rng: Rng, low: float, high: float, rough: float) -> Field:
    """An oval with a radius from low to high, its outline rough."""
    u, v = along_and_across(rng)
    radius = rng.uniform(low, high)
    return inside(radius - np.hypot(u, 1.5 * v) + rough * octaves(rng, 5, 11))


def band(rng: Rng, low: float, high: float, bend: float) -> Field:
    """A line across the tile, half as wide as low to high, that swings by `bend`."""
    u, v = along_and_across(rng)
    waves = rng.uniform(0.5, 1.5)
    wave = np.sin(2 * np.pi * (waves * u + rng.random()))
    curve = bend * (wave + octaves(rng, 4) / 3)
    return inside(rng.uniform(low, high) - abs(v - curve))


def boxes(rng: Rng, n: int, low: float, high: float, spread: float) -> Field:
    """n / 2 to n rectangles, their half sides from low to high, some paler, around one place."""
    u, v = along_and_across(rng)
    count = rng.integers((n + 1) // 2, n + 1)
    centres = rng.normal(0, spread, (count, 2))
    halves = rng.uniform(low, high, (count, 2))
    strengths = rng.uniform(0.5, 1, count)
    masks = []
    for (x, y), (width, height), strength in zip(centres, halves, strengths, strict=True):
        depth = np.minimum(width - abs(u - x), height - abs(v - y))
        masks.append(strength * inside(depth))
    return np.max(masks, axis=0)


# What there is


class Weather(NamedTuple):
    """A share of the tiles; a white veil, between two values (below 0: none), and clouds in it."""

    share: float
    low: float
    high: float
    clouds: float


class Ground(NamedTuple):
    """What may lie on a tile: how often where people farm and elsewhere, its colour, its shapes."""

    farmed: float
    wild: float
    colour: tuple[int, int, int]
    shapes: Sequence[Callable[[Rng], Field]]


WEATHER = {
    "clear": Weather(0.7, -0.3, 0.15, 0.06),
    "partly_cloudy": Weather(0.18, -1, 0.25, 1.25),
    "haze": Weather(0.067, 0.2, 0.55, 0.06),
    "cloudy": Weather(0.053, 0.75, 1.05, 0.06),
}
# Shares of the tiles that are not cloudy: farmed, with forest
FARMED, PRIMARY = 0.31, 0.97
FOREST, SOIL = (60, 80, 54), (122, 124, 84)  # what all else lies on

# What comes later lies on top. The rarest are more frequent than in reality.
FIELDS = partial(boxes, n=5, low=0.07, high=0.3, spread=0.25)
GARDENS = partial(boxes, n=12, low=0.02, high=0.05, spread=0.16)
CROWNS = partial(boxes, n=60, low=0.006, high=0.012, spread=0.25)
WINDFALL = partial(blob, low=0.02, high=0.12, rough=0.2)
TRAIL = partial(band, low=0.004, high=0.008, bend=0.15)
BURN = partial(blob, low=0.06, high=0.15, rough=0.08)
CLEARING = partial(blob, low=0.05, high=0.2, rough=0.08)
RIVER = partial(band, low=0.015, high=0.1, bend=0.12)
ROAD = partial(band, low=0.005, high=0.012, bend=0.03)
HOUSES = partial(boxes, n=50, low=0.008, high=0.014, spread=0.09)
POND = partial(blob, low=0, high=0.1, rough=0.2)
HEAPS = partial(boxes, n=20, low=0.01, high=0.02, spread=0.1)
PITS = partial(boxes, n=12, low=0.04, high=0.1, spread=0.2)
GROUND = {
    "agriculture": Ground(1, 0, (126, 132, 78), [FIELDS]),
    "cultivation": Ground(0.25, 0.05, (112, 104, 66), [GARDENS]),
    "blooming": Ground(0, 0.02, (206, 196, 120), [CROWNS]),
    "blow_down": Ground(0, 0.02, (138, 128, 100), [WINDFALL]),
    "selective_logging": Ground(0.01, 0.02, (136, 104, 76), [TRAIL, TRAIL, TRAIL]),
    "slash_burn": Ground(0.05, 0.004, (58, 46, 50), [BURN]),
    "bare_ground": Ground(0.05, 0.015, (178, 154, 120), [CLEARING]),
    "water": Ground(0.25, 0.18, (44, 60, 76), [RIVER]),
    "road": Ground(0.47, 0.09, (168, 138, 106), [ROAD]),
    "habitation": Ground(0.27, 0.03, (190, 180, 174), [HOUSES]),
    "artisinal_mine": Ground(0.01, 0.02, (176, 168, 136), [POND, HEAPS]),
    "conventional_mine": Ground(0.01, 0.015, (150, 138, 136), [PITS]),
}


def labels(rng: Rng) -> list[str]:
    """Labels of one tile, sorted: the weather and, unless it is cloudy, what lies on the ground."""
    shares = [weather.share for weather in WEATHER.values()]
    weather = str(rng.choice([*WEATHER], p=shares))
    is_farmed = rng.random() < FARMED
    found = []
    for name, ground in GROUND.items():
        share = ground.farmed if is_farmed else ground.wild
        if rng.random() < share:
            found.append(name)
    if not found or rng.random() < PRIMARY:
        found.append("primary")
    return [weather] if weather == "cloudy" else sorted([*found, weather])


def draw(tags: list[str], rng: Rng) -> Image.Image:
    """A tile with these labels, of which one is the weather."""
    picture = _plain(rng, FOREST if "primary" in tags else SOIL)
    for name, ground in GROUND.items():
        if name in tags:
            picture = _covered(rng, picture, ground)
    sky = next(weather for name, weather in WEATHER.items() if name in tags)
    veil = rng.uniform(sky.low, sky.high) + sky.clouds * octaves(rng, 3, 6, 12)
    white = rng.normal(215, 12)
    picture = picture + veil.clip(0, 1)[..., None] * (white - picture)
    picture = picture * rng.uniform(0.8, 1.2)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _plain(rng: Rng, colour: tuple[int, int, int]) -> Field:
    """Ground (SIDE, SIDE, 3) of one colour, about, with hills and trees."""
    tinted = np.array(colour) + rng.normal(0, 6, 3)
    hills = 6 * octaves(rng, 3, 6)
    trees = 9 * octaves(rng, 32, 64)
    return tinted + (hills + trees)[..., None]


def _covered(rng: Rng, picture: Field, ground: Ground) -> Field:
    """The picture with what lies on it, more or less visible."""
    strength = rng.uniform(0.4, 1)
    masks = [shape(rng) for shape in ground.shapes]
    mask = strength * np.max(masks, axis=0)[..., None]  # (SIDE, SIDE, 1)
    tinted = ground.colour + rng.normal(0, 10, 3)
    texture = 8 * octaves(rng, 8, 32)[..., None]
    return picture + mask * (tinted + texture - picture)


def build(target: Path) -> None:
    """Write train-jpg/train_N.jpg, test-jpg/test_N.jpg and train_v2.csv (image_name, tags)."""
    rows = []
    for split, count in COUNTS.items():
        folder = target / f"{split}-jpg"
        folder.mkdir(exist_ok=True)
        for i in range(count):
            rng = np.random.default_rng([split == "test", i])
            tags = labels(rng)
            name = f"{split}_{i}"
            draw(tags, rng).save(folder / f"{name}.jpg", quality=90)
            if split == "train":
                rows.append((name, " ".join(tags)))
    table = pd.DataFrame(rows, columns=["image_name", "tags"])
    table.to_csv(target / "train_v2.csv", index=False)
