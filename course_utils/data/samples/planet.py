"""Stand-in for Kaggle's Planet: satellite tiles with its 17 labels, drawn here.

What clouds hide keeps its label, as in the competition: a tile with "road" may show hardly any. So
nobody can be right about every label.

Lengths are in sides of the tile, 0 to 1. Colours are from 0 to 255, as the real tiles have them.
A field is an array (SIDE, SIDE) of floats, a mask a field from 0 to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from .drawing import Field, Rng, table

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
        numbers = rng.normal(0, 1, (n, n)).astype(np.float32)
        grid = Image.fromarray(numbers)
        smooth = np.asarray(grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        total = total + smooth / 2**i
    return total


def along_and_across(rng: Rng) -> tuple[Field, Field]:
    """How far each pixel lies along and across a random direction from a random place."""
    x, y = rng.uniform(0.2, 0.8, 2)
    angle = rng.random() * np.pi
    cos, sin = np.cos(angle), np.sin(angle)
    along = (X - x) * cos + (Y - y) * sin
    across = (Y - y) * cos - (X - x) * sin
    return along, across


def inside(depth: Field) -> Field:
    """A mask of where depth is above 0, with soft edges."""
    return (50 * depth + 0.5).clip(0, 1)


def blob(rng: Rng, low: float, high: float, rough: float) -> Field:
    """An oval with a radius from low to high, its outline rough."""
    u, v = along_and_across(rng)
    radius = rng.uniform(low, high)
    depth = radius - np.hypot(u, 1.5 * v)
    return inside(depth + rough * octaves(rng, 5, 11))


def band(rng: Rng, low: float, high: float, bend: float) -> Field:
    """A line across the tile, half as wide as low to high, that swings by `bend`."""
    u, v = along_and_across(rng)
    waves = rng.uniform(0.5, 1.5)
    phase = rng.random()
    wave = np.sin(2 * np.pi * (waves * u + phase))
    curve = bend * (wave + octaves(rng, 4) / 3)
    half_width = rng.uniform(low, high)
    return inside(half_width - abs(v - curve))


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


@dataclass(frozen=True)
class Weather:
    """A white veil over the tile, and clouds in it."""

    label: str
    share: float  # of the tiles
    low: float  # between these: below 0 none, at 1 one sees nothing else
    high: float
    clouds: float


@dataclass(frozen=True)
class Ground:
    """What may lie on a tile."""

    label: str
    farmed: float  # share of the tiles where people farm
    wild: float  # and elsewhere
    colour: list[int]
    shapes: list[str]


TABLES = table("planet.toml")
WEATHER = [Weather(**row) for row in TABLES["weather"]]
GROUND = [Ground(**row) for row in TABLES["ground"]]  # what comes later lies on top
SHAPES = TABLES["shapes"]
OUTLINES: dict[str, Callable[..., Field]] = {"blob": blob, "band": band, "boxes": boxes}

FARMED = 0.31  # shares of the tiles that are not cloudy
PRIMARY = 0.97
FOREST = (60, 80, 54)  # what all else lies on
SOIL = (122, 124, 84)


def labels(rng: Rng) -> list[str]:
    """Labels of one tile, sorted: the weather and, unless it is cloudy, what lies on the ground."""
    names = [weather.label for weather in WEATHER]
    shares = [weather.share for weather in WEATHER]
    weather = str(rng.choice(names, p=shares))
    is_farmed = rng.random() < FARMED
    found = []
    for ground in GROUND:
        share = ground.farmed if is_farmed else ground.wild
        if rng.random() < share:
            found.append(ground.label)
    if not found or rng.random() < PRIMARY:
        found.append("primary")
    return [weather] if weather == "cloudy" else sorted([*found, weather])


def draw(tags: list[str], rng: Rng) -> Image.Image:
    """A tile with these labels, of which one is the weather."""
    picture = _plain(rng, FOREST if "primary" in tags else SOIL)
    for ground in GROUND:
        if ground.label in tags:
            picture = _covered(rng, picture, ground)
    weather = next(weather for weather in WEATHER if weather.label in tags)
    picture = _veiled(rng, picture, weather)
    picture = picture * rng.uniform(0.8, 1.2)  # exposure
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
    masks = [_mask(rng, **SHAPES[name]) for name in ground.shapes]
    mask = strength * np.max(masks, axis=0)[..., None]  # (SIDE, SIDE, 1)
    tinted = ground.colour + rng.normal(0, 10, 3)
    texture = 8 * octaves(rng, 8, 32)[..., None]
    return picture + mask * (tinted + texture - picture)


def _mask(rng: Rng, kind: str, **arguments: Any) -> Field:
    """A shape of the table."""
    return OUTLINES[kind](rng, **arguments)


def _veiled(rng: Rng, picture: Field, weather: Weather) -> Field:
    """The picture under a sky: 0 of the veil shows it as it is, 1 hides it."""
    thickness = rng.uniform(weather.low, weather.high)
    veil = thickness + weather.clouds * octaves(rng, 3, 6, 12)
    white = rng.normal(215, 12)
    return picture + veil.clip(0, 1)[..., None] * (white - picture)


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
