"""What the drawn samples share: bodies made of balls, rendered in a light; noise, places, a camera.

A picture here is an array of floats: (height, width, 3) for colours from 0 to 1, (height, width)
for anything else.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageFilter

__all__ = [
    "Field",
    "Limb",
    "Part",
    "Rng",
    "Size",
    "Surface",
    "grey",
    "halve",
    "limb",
    "moved",
    "noise",
    "palette",
    "parts",
    "photo",
    "render",
    "rotation",
    "scenery",
    "soft",
    "table",
]

Rng = np.random.Generator
Field = np.ndarray
Size = tuple[int, int]  # width, height in pixels


def table(name: str) -> dict[str, Any]:
    """The constants in a toml file beside this one."""
    file = Path(__file__).with_name(name)
    return tomllib.loads(file.read_text("utf-8"))


# Bodies


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


# Colours and textures


def palette(text: str) -> Field:
    """Hexadecimal colours as rows of red, green and blue from 0 to 1: float32 (n, 3)."""
    levels = np.frombuffer(bytes.fromhex(text), np.uint8)
    return levels.reshape(-1, 3) / np.float32(255)


def grey(rng: Rng, low: float, high: float, cast: float) -> Field:
    """A colour (3,) with a brightness from low to high, and a cast of up to that much."""
    brightness = rng.uniform(low, high)
    return brightness + rng.uniform(-cast, cast, 3)


def halve(field: Field) -> Field:
    """Half as wide and half as high: what is rendered at twice the size gets smooth outlines."""
    total = field[::2, ::2] + field[1::2, ::2]  # left pixel of two, upper and lower
    total = total + field[::2, 1::2]
    total = total + field[1::2, 1::2]
    return total / 4


def soft(field: Field, radius: float) -> Field:
    """The field blurred over about `radius` pixels."""
    height, width = field.shape
    small = (_cells(width, radius), _cells(height, radius))
    picture = Image.fromarray(field).resize(small)
    return np.asarray(picture.resize((width, height)))


def _cells(pixels: int, size: float) -> int:
    """How many cells of a size in pixels there are in a row, two at least."""
    return max(2, round(pixels / max(size, 1)))


def noise(rng: Rng, size: Size, cell_width: float, cell_height: float | None = None) -> Field:
    """Smooth noise around 0, float32 (height, width), with structures of a cell's size in pixels.

    A cell is as high as wide where no height is given.
    """
    if cell_height is None:
        cell_height = cell_width
    width, height = size
    shape = (_cells(height, cell_height), _cells(width, cell_width))
    grid = rng.standard_normal(shape, np.float32)
    return np.asarray(Image.fromarray(grid).resize(size))


# Places and the camera


def scenery(rng: Rng, size: Size) -> Field:
    """A wall and a floor or a sky and a meadow, plain, tiled or blotched; never garish."""
    width, height = size
    y, x = np.ogrid[:height, :width]
    y = y / min(size)  # (height, 1)
    x = x / min(size)  # (1, width)

    greys = rng.uniform(0.2, 0.9, (3, 1))
    casts = rng.uniform(-0.15, 0.15, (3, 3))
    far, near, other = greys + casts
    horizon = rng.uniform(0.2, 0.7)
    sharpness = rng.choice((4, 40))
    floor = ((y - horizon) * sharpness).clip(0, 1)  # (height, 1), 0 far to 1 near
    scene = far + (near - far) * floor[..., None]  # (height, 1, 3)

    columns = np.sin(x * rng.uniform(8, 40))
    rows = np.sin(y * rng.uniform(1, 40))
    tiles = columns * rows > rng.uniform(-0.2, 2)  # nowhere, where the bound is above 1
    change = (other - scene) / 2  # (height, 1, 3)
    scene = scene + change * tiles[..., None]  # (height, width, 3)

    cell = rng.uniform(0.1, 0.4) * min(size)
    large = noise(rng, size, cell)
    grain_width, grain_height = rng.uniform(2, 20, 2)
    small = noise(rng, size, grain_width, grain_height)
    blotches = (large + small)[..., None]  # (height, width, 1)
    return scene * (1 + 0.08 * blotches)


def photo(rng: Rng, scene: Field) -> Image.Image:
    """What a camera makes of a scene: uneven light, exposure, colour cast, sensor noise, blur."""
    height, width, _ = scene.shape
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]  # from edge to edge
    right, down, corners = rng.normal(0, 0.15, 3)
    bright = 1 + right * x + down * y
    bright = bright - abs(corners) * (x**2 + y**2)
    exposure = rng.uniform(0.8, 1.2)
    tint = exposure * rng.normal(1, 0.06, 3)
    strength = rng.uniform(0.005, 0.035)
    grain = strength * rng.standard_normal(scene.shape, np.float32)
    gamma = rng.uniform(0.7, 1.4)
    levels = scene.clip(0, 1) ** gamma
    levels = levels * bright[..., None] * tint + grain
    picture = Image.fromarray(np.uint8(levels.clip(0, 1) * 255))
    blur = max(0, rng.normal(0, 0.5))
    return picture.filter(ImageFilter.GaussianBlur(blur))
