"""Stand-in for the fisheries competition, drawn here: fish of five kinds, or none, on ten boats.

Each boat has one camera, with its own size of picture, and its own mix of kinds. So the size tells
much of the kind on the boats of `train` and `valid`, and nothing on those of `new_boats`: that is
the leak which the lesson looks for.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from .drawing import Field, Rng, grey, noise, palette, photo, table

__all__ = ["BOATS", "KINDS", "SPECIES", "SPLITS", "VERSION", "build", "draw"]

VERSION: int = 1


@dataclass(frozen=True)
class Colours:
    """Hexadecimal; `fish.toml` says what each of these tables means."""

    back: str
    belly: str
    fins: str
    marks: str


@dataclass(frozen=True)
class Body:
    """Half the height, and how thin the body is at its ends."""

    height: float
    tail: float
    head: float


@dataclass(frozen=True)
class Fins:
    """The upper fin, the lower one as a share of it, and the length of the breast fin."""

    rise: float
    place: float
    reach: float
    below: float
    breast: float


@dataclass(frozen=True)
class Species:
    """A kind of fish. Lengths are in halves of its own, its nose at 1, its tail at -1."""

    colours: Colours
    body: Body
    fins: Fins
    marks: float  # share of their colour where there are any


class Boat(NamedTuple):
    """Whose camera makes pictures of one size, in pixels."""

    width: int
    height: int
    favourite: str | None  # half of its catch


class Split(NamedTuple):
    """Which boats a part of the set is from, and how often each catches each kind."""

    boats: range
    times: int


def _species() -> dict[str, Species]:
    species = {}
    for name, row in table("fish.toml").items():
        species[name] = Species(
            colours=Colours(**row["colours"]),
            body=Body(**row["body"]),
            fins=Fins(**row["fins"]),
            marks=row["marks"],
        )
    return species


SPECIES = _species()
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


SEA = (0.12, 0.25, 0.32)


class Box(NamedTuple):
    """Around all that is seen of a fish, in pixels; zeros for none."""

    x: int
    y: int
    width: int
    height: int


def turned(rng: Rng, scene: Field, margin: float | np.float32) -> tuple[Field, Field]:
    """How far each pixel lies along and across a random direction from a random place.

    Two fields (height, width), in heights of the picture; the place is `margin` or more inside it.
    """
    height, width, _ = scene.shape
    y, x = np.mgrid[:height, :width] / height
    angle = rng.uniform(0, 2 * np.pi)
    x = x - rng.uniform(margin, x.max() - margin)
    y = y - rng.uniform(margin, 1 - margin)
    cos, sin = np.cos(angle), np.sin(angle)
    along = x * cos + y * sin
    across = y * cos - x * sin
    return along.astype(np.float32), across.astype(np.float32)


def painted(scene: Field, depth: Field, colour: Field) -> Field:
    """The scene, covered where depth (in heights of the picture) is above 0; soft at the edge."""
    pixels = depth * len(scene)
    cover = (pixels + 0.5).clip(0, 1)[..., None]  # (height, width, 1)
    change = np.asarray(colour - scene, np.float32)
    return np.asarray(scene + cover * change, scene.dtype)


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


class Place(NamedTuple):
    """How a fish lies: each pixel's u along it and v across it, in halves of its length."""

    u: Field  # (height, width), 1 at the nose, -1 at the tail
    v: Field  # (height, width), 0 on its middle line, below 0 towards the back
    length: np.float32  # half of it, in heights of the picture


def _place(rng: Rng, scene: Field, species: Species) -> Place:
    """Any place, direction, side up and bend; a tall fish is shorter."""
    tallness = max(0, species.body.height - 0.3)
    usual = rng.uniform(0.19, 0.27)
    length = np.float32(usual * (1 - 0.5 * tallness))
    along, across = turned(rng, scene, 1.25 * length)  # the tail fin reaches beyond -1
    u, v = along / length, across / length
    side = rng.choice((-1, 1))
    bend = rng.normal(0, 0.08)
    bent = side * (v + bend * u**2)
    return Place(u, bent.astype(np.float32), length)


def _half_height(rng: Rng, body: Body, u: Field) -> Field:
    """Of the body at each pixel's place along the fish: 0 at both ends."""
    t = ((u + 1) / 2).clip(0, 1)  # 0 at the tail, 1 at the nose
    height = body.height * rng.uniform(0.9, 1.1)
    factor = np.float32(height * (1 + body.tail + body.head))  # its greatest height is about height
    return factor * t**body.tail * (1 - t) ** body.head


def _depth(place: Place, half: Field, fins: Fins) -> Field:
    """How far inside the fish a pixel lies, in halves of its length: below 0 outside."""
    u, v, _ = place
    away = abs(u - fins.place) / fins.reach
    upper = fins.rise * (1 - away).clip(0, 1)
    share = np.where(v < 0, 1, fins.below)
    edge = half + upper * share
    body = np.where(abs(u) < 1, edge - abs(v), -1)
    triangle = 0.03 - 0.85 * (u + 0.8) - abs(v)
    notch = 1.2 + u + 0.5 * abs(v)
    tail_fin = np.minimum(triangle, notch)
    return np.maximum(body, tail_fin)


def _tinted(rng: Rng, colours: Colours) -> Field:
    """Back, belly, fins and marks of one fish, (4, 3), nearly those of its kind."""
    hexadecimal = colours.back + colours.belly + colours.fins + colours.marks
    brightness = rng.uniform(0.85, 1.15)
    lit = palette(hexadecimal) * brightness
    return lit + rng.normal(0, 0.02, (4, 3))


def _skin(rng: Rng, place: Place, half: Field, colours: Field, species: Species) -> Field:
    """What the fish looks like at each pixel, (height, width, 3): a round body, marks, fins."""
    back, belly, fin, mark = colours
    u, v, length = place
    height, width = u.shape
    across = (v / (half + 0.05))[..., None]  # (height, width, 1), about -1 to 1 on the body
    upper = (0.5 - 2 * across).clip(0, 1)
    shading = (1.1 - 0.5 * across**2).clip(0.6, 1.1)  # darker towards the edges
    skin = (belly + (back - belly) * upper) * shading
    spots = noise(rng, (width, height), 5)[..., None] > 0.6
    skin = skin + species.marks * spots * (mark - skin)
    beyond_body = (abs(v) > half) | (u < -0.8)
    skin = np.where(beyond_body[..., None], fin, skin)

    breast = species.fins.breast
    narrow = 0.05 - abs(v - 0.04 - 0.05 * u)
    long = breast / 2 - abs(u - 0.5 + breast / 2)  # from 0.5 towards the tail
    return painted(skin, length * np.minimum(narrow, long), fin)


def fish(rng: Rng, scene: Field, kind: str) -> tuple[Field, Box]:
    """The scene with a fish on the deck, and the box of all that is seen of it."""
    species = SPECIES[kind]
    colours = _tinted(rng, species.colours)
    place = _place(rng, scene, species)
    half = _half_height(rng, species.body, place.u)
    depth = place.length * _depth(place, half, species.fins)  # in heights of the picture
    skin = _skin(rng, place, half, colours, species)
    return painted(scene, depth, skin), _box(depth > 0)


def _box(mask: np.ndarray) -> Box:
    """The smallest box that holds a mask (height, width)."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    width = int(columns[-1]) + 1 - left
    height = int(rows[-1]) + 1 - top
    return Box(left, top, width, height)


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
