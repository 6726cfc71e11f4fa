"""Stand-in for the fisheries competition, drawn here: fish of five kinds, or none, on ten boats.

Each boat has one camera, with its own size of picture, and its own mix of kinds. So the size tells
much of the kind on the boats of `train` and `valid`, and nothing on those of `new_boats`: that is
the leak which the lesson looks for.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from .drawing import Field, Rng, grey, noise, painted, photo, turned
from .species import Box, fish

__all__ = ["BOATS", "KINDS", "SPLITS", "VERSION", "build", "draw"]

VERSION: int = 1


class Boat(NamedTuple):
    """Whose camera makes pictures of one size, in pixels."""

    width: int
    height: int
    favourite: str | None  # half of its catch


class Split(NamedTuple):
    """Which boats a part of the set is from, and how often each catches each kind."""

    boats: range
    times: int


KINDS = ("ALB", "DOL", "LAG", "NoF", "SHARK", "YFT")
BOATS = [
    Boat(256, 144, "ALB"),
    Boat(256, 150, "ALB"),
    Boat(256, 195, "YFT"),
    Boat(238, 134, "DOL"),
    Boat(266, 150, "SHARK"),
    Boat(304, 171, "LAG"),
    # New boats: sizes seen before, but another catch
    Boat(256, 144, None),
    Boat(256, 195, None),
    Boat(238, 134, None),
    Boat(304, 171, None),
]
SPLITS = {
    "train": Split(range(6), 10),
    "valid": Split(range(6), 4),
    "new_boats": Split(range(6, 10), 10),
}
SEA = (0.12, 0.25, 0.32)  # its colour


def cluttered(rng: Rng, scene: Field, n: int, low: float, high: float) -> Field:
    """The scene with n boxes or round things of any colour anywhere, sides from low to high."""
    sides = rng.uniform(low, high, (n, 2)).astype(np.float32)
    for length, width in sides:
        along, across = turned(rng, scene, 0)
        u, v = along / length, across / width
        colour = grey(rng, 0.1, 0.9, cast=0.15)
        is_round = rng.random() < 0.5
        far = np.hypot(u, v) if is_round else np.maximum(abs(u), abs(v))  # 1 at the edge
        depth = min(length, width) * (1 - far)
        slope = 1 + v[..., None] / 5  # one side is brighter than the other
        scene = painted(scene, depth, colour * slope)
    return scene


@cache
def deck(boat: int) -> Field:
    """What the camera of a boat always sees: planks, the sea, some structures."""
    rng = np.random.default_rng([VERSION, boat])
    width, height, _ = BOATS[boat]
    size = (width, height)
    colour = grey(rng, 0.3, 0.7, cast=0.1)
    wood = np.full((height, width, 3), colour, np.float32)
    along, across = turned(rng, wood, 0.4)
    waves = rng.uniform(30, 70)
    planks = 0.04 * np.sin(waves * along)
    stains = 0.06 * noise(rng, size, 12)
    scene = wood + (planks + stains)[..., None]
    overboard = across - rng.uniform(0.3, 0.5)
    swell = 0.08 * noise(rng, size, 9, 3)[..., None]
    scene = painted(scene, overboard, np.array(SEA) + swell)
    return cluttered(rng, scene, 5, 0.05, 0.25)


def draw(kind: str, boat: int, rng: Rng) -> tuple[Image.Image, Box]:
    """A picture from the deck of a boat (0 to 9), and the box of its fish (zeros for NoF)."""
    n = int(rng.integers(1, 5))
    scene = cluttered(rng, deck(boat), n, 0.02, 0.1)
    box = Box(0, 0, 0, 0)
    if kind != "NoF":
        scene, box = fish(rng, scene, kind)
    return photo(rng, scene), box


def _catch(boat: int) -> list[str]:
    """What a boat catches at a time: each kind once, its favourite five times."""
    favourite = BOATS[boat].favourite
    more = [] if favourite is None else [favourite] * 4
    return [*KINDS, *more]


def build(target: Path) -> None:
    """Write SPLIT/KIND/img_N.jpg and pictures.csv: name, boat, and x, y, width, height of the box.

    The numbers are shuffled over all splits, so that a name tells nothing.
    """
    shots = []
    for name, split in SPLITS.items():
        for boat in split.boats:
            shots += [(name, boat, kind) for kind in _catch(boat) * split.times]
    numbers = np.random.default_rng(VERSION).permutation(len(shots))
    rows = []
    for number, (name, boat, kind) in zip(numbers, shots, strict=True):
        folder = target / name / kind
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([VERSION, 0, number])
        picture, box = draw(kind, boat, rng)
        file = f"img_{number:05}.jpg"
        picture.save(folder / file, quality=90)
        rows.append((f"{name}/{kind}/{file}", boat, *box))
    columns = ["picture", "boat", *Box._fields]
    pictures = pd.DataFrame(sorted(rows), columns=columns)
    pictures.to_csv(target / "pictures.csv", index=False)
