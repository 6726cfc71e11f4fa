"""What the drawn samples share: colours, noise, flat shapes, places, a camera.

A picture here is an array of floats: (height, width, 3) for colours from 0 to 1, (height, width)
for anything else.
"""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

__all__ = [
    "Field",
    "Rng",
    "Size",
    "grey",
    "halve",
    "noise",
    "painted",
    "palette",
    "photo",
    "scenery",
    "soft",
    "table",
    "turned",
]

Rng = np.random.Generator
Field = np.ndarray
Size = tuple[int, int]  # width, height in pixels


def table(name: str) -> dict[str, Any]:
    """The constants in a toml file beside this one."""
    file = Path(__file__).with_name(name)
    return tomllib.loads(file.read_text("utf-8"))


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


# Flat shapes


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

    across, down = rng.uniform((8, 1), (40, 40))
    columns = np.sin(x * across)
    rows = np.sin(y * down)
    tiles = columns * rows > rng.uniform(-0.2, 2)  # nowhere, where the bound is above 1
    change = (other - scene) / 2  # (height, 1, 3)
    scene = scene + change * tiles[..., None]  # (height, width, 3)

    cell = rng.uniform(0.1, 0.4)
    large = noise(rng, size, cell * min(size))
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
    from_middle = x**2 + y**2
    bright = bright - abs(corners) * from_middle
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
