"""Bodies made of balls, for the drawn samples: how they are moved, how they look in a light.

Places are x (to the right), y (down), z (towards the viewer).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .drawing import Field

__all__ = ["Limb", "Part", "Surface", "limb", "moved", "parts", "render", "rotation"]


class Limb(NamedTuple):
    """Balls in a row, with a skin that is stretched from each to the next."""

    paint: int  # the number of its colour
    balls: np.ndarray  # (n, 4): x (to the right), y (down), z (towards the viewer), radius


def limb(paint: int, *balls: ArrayLike) -> Limb:
    """A limb of balls, each x, y, z, radius."""
    return Limb(int(paint), np.array(balls, float))


@dataclass(frozen=True)
class Part:
    """A limb as in a table: the name of its paint, and balls as x, y, z, radius."""

    paint: str
    balls: list[list[float]]


def parts(rows: list[dict[str, Any]]) -> list[Part]:
    """Those of a table."""
    return [Part(**row) for row in rows]


def moved(
    limbs: list[Limb], turn: np.ndarray, scale: float = 1, shift: ArrayLike = 0
) -> list[Limb]:
    """Limbs turned (or stretched) about the origin by a (3, 3) matrix, scaled, then shifted.

    A ball remains a ball: only `scale` changes its radius.
    """
    made = []
    for paint, balls in limbs:
        turned = balls[:, :3] @ turn.T  # (n, 3)
        centres = turned * scale + np.asarray(shift)
        radii = balls[:, 3] * scale  # (n,)
        made.append(Limb(paint, np.column_stack([centres, radii])))
    return made


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The (3, 3) matrix of a turn to the side, then a nod, then a tilt, in degrees."""
    angles = np.radians((yaw, pitch, roll))
    cos_yaw, cos_pitch, cos_roll = np.cos(angles)
    sin_yaw, sin_pitch, sin_roll = np.sin(angles)
    turn = [
        (cos_yaw, 0, sin_yaw),
        (0, 1, 0),
        (-sin_yaw, 0, cos_yaw),
    ]
    nod = [
        (1, 0, 0),
        (0, cos_pitch, sin_pitch),
        (0, -sin_pitch, cos_pitch),
    ]
    tilt = [
        (cos_roll, -sin_roll, 0),
        (sin_roll, cos_roll, 0),
        (0, 0, 1),
    ]
    return np.array(tilt) @ np.array(nod) @ np.array(turn)


class Surface(NamedTuple):
    """What a viewer sees of some limbs; each (height, width)."""

    depth: Field  # z of what is nearest, in pixels; -inf where there is nothing
    shade: Field  # how squarely the light meets it: 1 faces the light, below 0 is turned away
    paint: np.ndarray  # the number of its paint; 0 where there is nothing


def render(limbs: list[Limb], rough: Field, light: ArrayLike) -> Surface:
    """Look at limbs, in pixels, along the z axis.

    `rough` (height, width) swells or shrinks them pixel by pixel, 1 for a smooth skin. `light` is
    the direction x, y, z that the light comes from.
    """
    surface = Surface(
        depth=np.full_like(rough, -np.inf),
        shade=np.zeros_like(rough),
        paint=np.zeros(rough.shape, np.uint8),
    )
    direction = np.asarray(light, np.float32)
    for paint, balls in limbs:
        for first, last in _stretches(balls.astype(np.float32)):
            _add(surface, paint, first, last, rough, direction)
    return surface


def _stretches(balls: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The balls at both ends of each piece of skin, then each ball twice.

    A piece that points at the viewer has no length in the picture: so the balls are drawn too.
    """
    yield from pairwise(balls)
    yield from zip(balls, balls, strict=True)


def _add(
    surface: Surface,
    paint: int,
    first: np.ndarray,
    last: np.ndarray,
    rough: Field,
    light: np.ndarray,
) -> None:
    """Draw the skin from the first ball to the last, where it is nearer than what is there."""
    x0, y0, z0, r0 = first
    dx, dy, dz, dr = last - first
    box = _box(first, last, rough.shape)
    rows, columns = np.ogrid[box]
    y = rows.astype(np.float32) - y0  # (box height, 1)
    x = columns.astype(np.float32) - x0  # (1, box width)

    # A pixel lies beside the way from the first ball (0) to the last (1); the skin there is that of
    # a ball in between.
    length_squared = dx**2 + dy**2 + np.float32(1e-6)
    along = ((x * dx + y * dy) / length_squared).clip(0, 1)  # (box height, box width)
    radius = np.maximum(r0 + along * dr, 0.7)  # keeps thin hairs whole
    radius = radius * rough[box]
    x = x - along * dx
    y = y - along * dy
    rise_squared = np.maximum(radius**2 - x**2 - y**2, 0)
    rise = np.sqrt(rise_squared)  # of the skin above the ball's centre
    z = np.where(rise > 0, z0 + along * dz + rise, -np.inf)

    light_x, light_y, light_z = light
    shade = (x * light_x + y * light_y + rise * light_z) / radius
    nearer = z > surface.depth[box]
    surface.depth[box][nearer] = z[nearer]
    surface.shade[box][nearer] = shade[nearer]
    surface.paint[box][nearer] = paint


def _box(first: np.ndarray, last: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns of a picture that two balls and the skin between them can touch."""
    radius = max(first[3], last[3])
    reach = 1.2 * radius + 1  # leaves room for a rough skin
    low = np.minimum(first, last)[:2] - reach
    high = np.maximum(first, last)[:2] + reach
    height, width = shape
    corners = np.clip((low, high), 0, (width, height)).astype(int)
    (left, top), (right, bottom) = corners
    return np.s_[top:bottom, left:right]
