"""The five kinds of fish of fish.py, and how one of them is drawn.

Lengths along and across a fish are in halves of its own length.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .drawing import Field, Rng, noise, painted, palette, table, turned

__all__ = ["SPECIES", "Body", "Box", "Colours", "Fins", "Species", "fish"]


@dataclass(frozen=True)
class Colours:
    """Hexadecimal."""

    back: str
    belly: str
    fins: str
    marks: str


@dataclass(frozen=True)
class Body:
    """Without fins."""

    height: float  # half of it
    tail: float  # how thin it is at these ends
    head: float


@dataclass(frozen=True)
class Fins:
    """One above and one below, and a breast fin."""

    rise: float  # how far the upper one stands out
    place: float  # of its highest point
    reach: float  # from there to its ends
    below: float  # rise of the lower one as a share of the upper
    breast: float  # length of the breast fin


@dataclass(frozen=True)
class Species:
    """A kind of fish: its nose is at 1, its tail at -1."""

    colours: Colours
    body: Body
    fins: Fins
    marks: float  # share of their colour where there are any


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


class Box(NamedTuple):
    """Around all that is seen of a fish, in pixels; zeros for none."""

    x: int
    y: int
    width: int
    height: int


class Place(NamedTuple):
    """How a fish lies: each pixel's u along it and v across it, in halves of its length."""

    u: Field  # (height, width), 1 at the nose, -1 at the tail
    v: Field  # (height, width), 0 on its middle line, below 0 towards the back
    length: np.float32  # half of it, in heights of the picture


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
