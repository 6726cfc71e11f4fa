"""Drivers and their car for statefarm.py: limbs with the middle of the head as their origin.

Lengths are in radii of the head: x ahead (to the right in the picture), y down, z to the camera.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from .bodies import Limb, Part, limb, moved, parts, rotation
from .drawing import Field, table

__all__ = ["POSTURES", "Paint", "Posture", "Shifts", "car", "person"]


@dataclass(frozen=True)
class Posture:
    """Where the hands are, and what head and hands do."""

    right: list[float]
    left: list[float]
    turn: float  # of the head to the camera, degrees
    holds: str | None = None  # "right", "left" or None


class Paint(IntEnum):
    """Rows of the colours of a driver."""

    SKIN = 0
    HAIR = 1
    SHIRT = 2
    LEGS = 3
    THING = 4  # in a hand
    SEAT = 5
    DASH = 6
    WHEEL = 7
    SLEEVE = 8  # of the colour of the shirt, but plain


class Shifts(NamedTuple):
    """By how much a film and a frame differ from the posture, (3,) each."""

    right: Field
    left: Field
    head: Field
    thing: Field


TABLE = table("drivers.toml")
POSTURES = {name: Posture(**row) for name, row in TABLE["postures"].items()}
HEAD = parts(TABLE["limbs"]["head"])
BODY = parts(TABLE["limbs"]["body"])
CAR = parts(TABLE["limbs"]["car"])


def _limbs(some: list[Part]) -> list[Limb]:
    return [limb(Paint[part.paint], *part.balls) for part in some]


def person(posture: Posture, shifts: Shifts, forearm: Paint, hair: float) -> list[Limb]:
    """A driver in a posture; hair is its radius."""
    right = np.array(posture.right) + shifts.right
    left = np.array(posture.left) + shifts.left
    turn = posture.turn + 15 * shifts.head[2]
    limbs = head(turn, hair, shifts.head / 3)
    limbs += _limbs(BODY)
    if posture.holds is not None:
        hand = right if posture.holds == "right" else left
        limbs.append(thing(hand, shifts.thing / 4))
    limbs += arm(right, forearm, near=1)
    limbs += arm(left, forearm, near=-1)
    return limbs


def head(turn: float, hair: float, shift: Field) -> list[Limb]:
    """Turned to the camera by degrees."""
    cap = limb(Paint.HAIR, (-0.2, -0.4, 0, hair), (-0.4, 0.1, 0, 0.8))
    limbs = [*_limbs(HEAD), cap]
    place = np.add((0.3, 0, 0), shift)
    return moved(limbs, rotation(-turn, 0, 0), shift=place)


def thing(hand: Field, shift: Field) -> Limb:
    """A telephone or a bottle in a hand (3,)."""
    x, y, z = hand + np.array((0.2, -0.4, 0.3)) + shift
    lower = (x, y + 0.5, z, 0.32)
    upper = (x, y - 0.5, z, 0.32)
    return limb(Paint.THING, lower, upper)


def arm(hand: Field, forearm: Paint, *, near: int) -> list[Limb]:
    """From the shoulder to a hand (3,): near is 1 for the right arm, -1 for the left one."""
    shoulder = np.array((0.1, 2.3, 1.25 * near))
    half_way = (hand + shoulder) / 2
    elbow = half_way + np.array((-0.2, 1.1, 0.5 * near))
    return [
        limb(Paint.SHIRT, (*shoulder, 0.62), (*elbow, 0.46)),
        limb(forearm, (*elbow, 0.45), (*hand, 0.3)),
        limb(Paint.SKIN, (*hand, 0.42)),
    ]


def car() -> list[Limb]:
    """Seat, dashboard and wheel."""
    around = np.linspace(0, 2 * np.pi, 11)
    ahead = 7 + 0.7 * np.sin(around)
    down = 3.8 - 1.9 * np.sin(around)  # it leans
    near = 1.7 * np.cos(around) - 0.2
    radius = np.full(11, 0.2)
    rim = np.column_stack([ahead, down, near, radius])
    return [*_limbs(CAR), limb(Paint.WHEEL, *rim)]
