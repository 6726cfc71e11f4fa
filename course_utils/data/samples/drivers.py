"""Drivers and their car for statefarm.py: limbs with the middle of the head as their origin.

Lengths are in radii of the head: x ahead (to the right in the picture), y down, z to the camera.
"""

import tomllib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .drawing import Field, Limb, limb, moved, rotation

__all__ = ["POSTURES", "Paint", "Posture", "Shifts", "car", "person"]


@dataclass(frozen=True)
class Posture:
    """Where the hands are, in radii of a head from its centre: ahead, down, towards the camera."""

    right: list[float]
    left: list[float]
    turn: float  # of the head to the camera, degrees
    holds: str | None = None  # "right", "left" or None


TABLE = tomllib.loads(Path(__file__).with_name("postures.toml").read_text("utf-8"))
POSTURES = {name: Posture(**row) for name, row in TABLE.items()}


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


def arm(side: int, hand: Field, forearm: Paint) -> list[Limb]:
    """From the shoulder to a hand (3,); side is 1 for the right arm, near the camera, else -1."""
    shoulder = np.array((0.1, 2.3, 1.25 * side))
    elbow = (hand + shoulder) / 2 + (-0.2, 1.1, 0.5 * side)
    return [
        limb(Paint.SHIRT, (*shoulder, 0.62), (*elbow, 0.46)),
        limb(forearm, (*elbow, 0.45), (*hand, 0.3)),
        limb(Paint.SKIN, (*hand, 0.42)),
    ]


def head(turn: float, hair: float, shift: Field) -> list[Limb]:
    """Turned to the camera by degrees; hair is the radius of the hair."""
    limbs = [
        limb(Paint.SKIN, (0, 0, 0, 0.95), (0.2, 0.5, 0, 0.7)),
        limb(Paint.SKIN, (0.95, 0.15, 0, 0.18)),  # nose
        limb(Paint.HAIR, (-0.2, -0.4, 0, hair), (-0.4, 0.1, 0, 0.8)),
    ]
    return moved(limbs, rotation(-turn, 0, 0), shift=np.add((0.3, 0, 0), shift))


def person(posture: Posture, shifts: Shifts, forearm: Paint, hair: float) -> list[Limb]:
    """A driver in a posture."""
    right = np.array(posture.right) + shifts.right
    left = np.array(posture.left) + shifts.left
    limbs = head(posture.turn + 15 * shifts.head[2], hair, shifts.head / 3)
    limbs += [
        limb(Paint.SHIRT, (0.1, 2.6, 0, 1.2), (-0.1, 6, 0, 1.3)),
        limb(Paint.SKIN, (0.1, 1.2, 0, 0.5)),  # neck
        limb(Paint.LEGS, (0, 6.4, 0.6, 0.95), (5, 5.9, 0.8, 0.75), (7, 9, 0.8, 0.6)),
    ]
    if posture.holds is not None:
        hand = {"right": right, "left": left}[posture.holds]
        x, y, z = hand + (0.2, -0.4, 0.3) + shifts.thing / 4
        limbs.append(limb(Paint.THING, (x, y + 0.5, z, 0.32), (x, y - 0.5, z, 0.32)))
    return limbs + arm(1, right, forearm) + arm(-1, left, forearm)


def car() -> list[Limb]:
    """Seat, dashboard and wheel, in the same units."""
    around = np.linspace(0, 2 * np.pi, 11)
    ahead = 7 + 0.7 * np.sin(around)
    down = 3.8 - 1.9 * np.sin(around)  # it leans
    near = 1.7 * np.cos(around) - 0.2
    rim = np.column_stack([ahead, down, near, np.full(11, 0.2)])  # (11, 4) balls
    return [
        limb(Paint.SEAT, (-1.8, 1.5, 0, 1.2), (-1.2, 6.6, 0, 1.4), (4, 7.6, 0, 1.3)),
        limb(Paint.SEAT, (-1.7, -0.1, 0, 0.8)),  # head-rest
        limb(Paint.DASH, (8, 4.4, -2.5, 1.2), (12, 3, -1, 2), (12, 7, 0, 2.6)),
        limb(Paint.WHEEL, *rim),
    ]
