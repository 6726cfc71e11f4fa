"""What the drawn samples share: bodies made of balls, rendered in a light; noise, places, a camera."""

from itertools import pairwise

import numpy as np
from PIL import Image, ImageFilter

__all__ = [
    "Field",
    "Limb",
    "Rng",
    "Size",
    "chain",
    "halve",
    "moved",
    "noise",
    "palette",
    "photo",
    "render",
]
__all__ += ["rotation", "scenery", "soft"]

Rng = np.random.Generator
Field = np.ndarray  # float32 (height, width) or (height, width, 3), colours from 0 to 1
Size = tuple[int, int]  # width, height
Limb = tuple[int, np.ndarray]  # paint; balls as rows of x (right), y (down), z (near), radius


def palette(text: str) -> Field:
    """Hexadecimal colours as rows of red, green and blue."""
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 3) / np.float32(255)


def chain(paint: int, *balls: tuple) -> list[Limb]:
    """A limb; its skin is stretched from ball to ball."""
    return [(paint, np.array(balls))]


def moved(limbs: list[Limb], turn: np.ndarray, scale: float = 1, shift: Field = 0) -> list[Limb]:
    """Limbs with their balls turned (or stretched) about the origin, scaled, then shifted."""
    return [(p, np.c_[b[:, :3] @ turn.T * scale + shift, b[:, 3] * scale]) for p, b in limbs]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The (3, 3) matrix of a turn to the side, then a nod, then a tilt, in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians((yaw, pitch, roll))) for f in (np.cos, np.sin))
    turn, nod = [(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)], [(1, 0, 0), (0, cp, sp), (0, -sp, cp)]
    return np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)]) @ nod @ turn


def render(limbs: list[Limb], rough: Field, light: Field) -> tuple[Field, Field, np.ndarray]:
    """At each pixel the depth of what is nearest (-inf: nothing), its light (-1 to 1), its paint."""
    depth, shade, paints = np.full_like(rough, -np.inf), 0 * rough, np.zeros(rough.shape, np.uint8)
    light_x, light_y, light_z = np.float32(light)
    cones = [
        (p, np.float32(ends)) for p, b in limbs for ends in (*pairwise(b), *zip(b, b, strict=True))
    ]
    for paint, ends in cones:  # round two balls, or a single one
        (x0, y0, z0, r0), (dx, dy, dz, dr) = ends[0], ends[1] - ends[0]
        reach = 1.2 * ends[:, 3].max() + 1
        low, high = ends.min(0)[:2] - reach, ends.max(0)[:2] + reach
        (left, top), (right, bottom) = np.clip((low, high), 0, rough.shape[::-1]).astype(int)
        box = np.s_[top:bottom, left:right]
        y, x = (
            np.float32(axis) - start for axis, start in zip(np.ogrid[box], (y0, x0), strict=True)
        )
        along = ((x * dx + y * dy) / (dx**2 + dy**2 + np.float32(1e-6))).clip(0, 1)
        radius = np.maximum(r0 + along * dr, 0.7) * rough[box]  # keeps thin hairs whole
        x, y = x - along * dx, y - along * dy
        rise = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
        z = np.where(rise > 0, z0 + along * dz + rise, -np.inf)
        won = z > depth[box]
        depth[box][won], paints[box][won] = z[won], paint
        shade[box][won] = ((x * light_x + y * light_y + rise * light_z) / radius)[won]
    return depth, shade, paints


def halve(field: Field) -> Field:
    """Half as wide and half as high: what is rendered at twice the size gets smooth outlines."""
    return (field[::2, ::2] + field[1::2, ::2] + field[::2, 1::2] + field[1::2, 1::2]) / np.float32(
        4
    )


def soft(field: Field, radius: float) -> Field:
    """The field blurred over about `radius` pixels."""
    size = field.shape[::-1]
    return np.asarray(
        Image.fromarray(field)
        .resize([max(2, round(n / max(radius, 1))) for n in size])
        .resize(size)
    )


def noise(rng: Rng, size: Size, *cell: float) -> Field:
    """Smooth noise around 0 with structures of `cell` pixels (one number, or width and height)."""
    wide, high = (max(2, round(n / max(c, 1))) for n, c in zip(size, cell * 2, strict=False))
    return np.asarray(Image.fromarray(rng.standard_normal((high, wide), np.float32)).resize(size))


def scenery(rng: Rng, size: Size) -> Field:
    """A wall and a floor or a sky and a meadow, plain, tiled or blotched; never garish."""
    y, x = (axis / min(size) for axis in np.ogrid[: size[1], : size[0]])
    far, near, other = rng.uniform(0.2, 0.9, (3, 1)) + rng.uniform(-0.15, 0.15, (3, 3))
    floor = np.clip((y - rng.uniform(0.2, 0.7)) * rng.choice((4, 40)), 0, 1)[..., None]
    tiles = np.sin(x * rng.uniform(8, 40)) * np.sin(y * rng.uniform(1, 40)) > rng.uniform(-0.2, 2)
    scene = far + (near - far) * floor
    scene = scene + (other - scene) / 2 * tiles[..., None]
    blotches = noise(rng, size, rng.uniform(0.1, 0.4) * min(size)) + noise(
        rng, size, *rng.uniform(2, 20, 2)
    )
    return scene * (1 + 0.08 * blotches[..., None])


def photo(rng: Rng, scene: Field) -> Image.Image:
    """What a camera makes of a scene: uneven light, exposure, colour cast, sensor noise, blur."""
    y, x = np.ogrid[-1 : 1 : scene.shape[0] * 1j, -1 : 1 : scene.shape[1] * 1j]
    right, down, dim = rng.normal(0, 0.15, 3)
    bright = (1 + right * x + down * y - abs(dim) * (x**2 + y**2))[..., None]
    tint = rng.uniform(0.8, 1.2) * rng.normal(1, 0.06, 3)
    grain = rng.uniform(0.005, 0.035) * rng.standard_normal(scene.shape, np.float32)
    levels = np.clip(np.clip(scene, 0, 1) ** rng.uniform(0.7, 1.4) * bright * tint + grain, 0, 1)
    picture = Image.fromarray(np.uint8(levels * 255))
    return picture.filter(ImageFilter.GaussianBlur(max(0, rng.normal(0, 0.5))))
