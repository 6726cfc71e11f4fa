"""Stand-in for Kaggle's Dogs vs. Cats: small colour pictures of cats and dogs, drawn here.

An animal is a list of limbs, and a limb is a chain of balls in space; nearer balls hide others. Coat, place and light
are distributed alike for both kinds: only the anatomy tells them apart.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

__all__ = ["COUNTS", "KINDS", "TEST_COUNT", "VERSION", "build", "draw"]

VERSION: int = 1
KINDS = ("cat", "dog")
COUNTS = {"train": 200, "valid": 100}  # pictures of each kind
TEST_COUNT = 20

Rng = np.random.Generator
Field = np.ndarray  # float32 (height, width) or (height, width, 3), colours from 0 to 1
Size = tuple[int, int]  # width, height
Limb = tuple[int, np.ndarray]  # paint; balls as rows of x (right), y (down), z (near), radius


def palette(text: str) -> Field:
    """Hexadecimal colours as rows of red, green and blue."""
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 3) / np.float32(255)


FUR, POINT, EAR, PUPIL, GLINT, TONGUE, HAIR, SKIN, NOSE, IRIS, PROP = range(11)
PAINTS = palette("000000 000000 c08078 0a0a0a ffffff d86a74 f0f0f0 e0b090")  # up to SKIN
COATS = palette("282424 4a3428 704c32 ba743a cea470 e2d0b0 ece8e2 868484 5c626c a08a70")
IRISES = {"cat": palette("9ea63c 70a0c4 ce9e32"), "dog": palette("70a0c4 7a4c24 543420")}

# Anatomy. The unit is the radius of the head, the origin its centre; animals face the viewer.
POSES = (  # torso, front leg, hind leg, each of an animal that sits, stands or lies
    [(0, 0.6, -0.5, 0.7), (0, 1.6, -0.7, 0.8), (0, 2.8, -1.2, 1.1)],
    [(0, 0.4, -0.4, 0.6), (0, 1.1, -1.2, 0.85), (0, 1.05, -3.2, 0.8)],
    [(0, 0.4, -0.5, 0.6), (0, 0.9, -1.2, 0.85), (0, 0.9, -3, 1)],
    [(0.4, 1.9, -0.3, 0.4), (0.42, 2.6, 0, 0.27), (0.42, 3.5, 0.05, 0.25)],
    [(0.4, 1.5, -1.1, 0.4), (0.42, 2.9, -1, 0.22)],
    [(0.5, 1.3, -0.9, 0.4), (0.6, 1.6, 0.5, 0.26)],
    [(0.9, 2.7, -0.9, 0.75), (1, 3.1, -0.3, 0.45), (1.05, 3.5, 0, 0.26)],
    [(0.4, 1.3, -3.2, 0.6), (0.45, 2.1, -3.5, 0.3), (0.42, 2.9, -3.4, 0.21)],
    [(0.75, 1.1, -2.9, 0.75), (1, 1.6, -2.6, 0.3), (1.1, 1.6, -2, 0.26)],
)
POINTED, INNER = [(0.56, -0.55, -0.05, 0.42), (0.85, -1.4, -0.1, 0.09)], (1, 0.95, -2, 0.7)
FOLDED = [(0.55, -0.6, 0, 0.38), (0.75, -1.1, 0.1, 0.2), (0.9, -0.8, 0.4, 0.08)]
TAIL = [(0, 0, 0, 0.26), (0, 0.1, -0.8, 0.22), (0.2, -0.2, -1.4, 0.18), (0.5, -0.8, -1.6, 0.13)]
PENDANT = [(0.7, -0.5, 0, 0.25), (1, -0.1, 0.05, 0.32), (1.02, 0.6, 0.1, 0.36)]


def limb(paint: int, *balls: tuple) -> list[Limb]:
    """A limb, with its mirror image unless it lies in the middle plane."""
    sides = (1, -1) if np.array(balls)[:, 0].any() else (1,)
    return [(paint, balls * np.array((side, 1, 1, 1))) for side in sides]


def moved(limbs: list[Limb], turn: np.ndarray, scale: float = 1, shift: Field = 0) -> list[Limb]:
    """Limbs with their balls turned (or stretched) about the origin, scaled, then shifted."""
    return [(p, np.c_[b[:, :3] @ turn.T * scale + shift, b[:, 3] * scale]) for p, b in limbs]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The (3, 3) matrix of a turn to the side, then a nod, then a tilt, in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians((yaw, pitch, roll))) for f in (np.cos, np.sin))
    turn, nod = [(cy, 0, sy), (0, 1, 0), (-sy, 0, cy)], [(1, 0, 0), (0, cp, sp), (0, -sp, cp)]
    return np.array([(cr, -sr, 0), (sr, cr, 0), (0, 0, 1)]) @ nod @ turn


def eyes(x: float, y: float, r: float, pupil: float) -> list[Limb]:
    """Two eyes of radius r; the pupil's width is a share of it, and a narrow pupil is a slit."""
    front, tall = 0.76 + 0.75 * r, (0.65 - pupil) * r
    return [
        *limb(PUPIL, (x, y, 0.72, 1.12 * r)),  # a dark rim
        *limb(IRIS, (x, y, 0.76, r)),
        *limb(PUPIL, (x, y - tall, front, pupil * r), (x, y + tall, front, pupil * r)),
        *limb(GLINT, (x + 0.2 * r, y - 0.35 * r, front + 0.35 * r, 0.2 * r)),
    ]


def ears(rng: Rng, *odds: float) -> list[Limb]:
    """Two ears: pointed, folded or pendant, with these odds."""
    shape = (POINTED, FOLDED, PENDANT)[rng.choice(3, p=odds)]
    inner = limb(EAR, *np.array(POINTED) * INNER) if shape is POINTED else []
    return moved(limb(POINT, *shape) + inner, np.diag((1, *rng.uniform(0.85, 1.2, 2))))


def cat_head(rng: Rng) -> list[Limb]:
    """A round head with a short muzzle, large eyes and, nearly always, pointed ears."""
    wide, z, out = rng.uniform((0.08, 0.65, 1), (0.22, 0.85, 1.5))
    return [
        *limb(FUR, (wide, 0, 0, 0.9), (0.42, 0.3, 0.28, 0.55)),
        *limb(FUR, (0, -0.25, 0.66, 0.26), (0, 0.15, z + 0.14, 0.16)),
        *limb(POINT, (0.17, 0.42, z + 0.04, 0.25), (0, 0.58, z, 0.19)),
        *limb(NOSE, (0, 0.3, z + 0.28, 0.06), (0.08, 0.24, z + 0.27, 0.06)),
        *eyes(0.42, -0.06, rng.uniform(0.2, 0.26), rng.choice((0.2, 0.4, 0.65))),
        *ears(rng, 0.94, 0.06, 0),
        *limb(HAIR, (out, 0.1, 0.6, 0.01), (0.25, 0.4, 0.9, 0.01), (out, 0.6, 0.6, 0.01)),
    ]


def dog_head(rng: Rng) -> list[Limb]:
    """A narrower head with a longer muzzle, a large nose and ears of all kinds."""
    z = rng.uniform(0.85, 1.6)
    return [
        *limb(FUR, (0, -0.15, 0, 0.86), (0, 0.05, 0.15, 0.84)),
        *limb(POINT, (0, 0.25, 0.5, 0.52), (0, 0.36, z + 0.1, 0.34)),
        *limb(POINT, (0, 0.5, 0.5, 0.42), (0, 0.62, z, 0.22)),
        *limb(NOSE, (0, 0.24, z + 0.37, 0.13), (0.1, 0.2, z + 0.35, 0.12)),
        *eyes(0.38, -0.14, rng.uniform(0.12, 0.17), 0.65),
        *ears(rng, 0.12, 0.18, 0.7),
        *limb(TONGUE, (0, 0.7, z, 0.14), (0, 1, z + 0.1, 0.15))[: rng.integers(2)],
    ]


def animal(rng: Rng, kind: str) -> list[Limb]:
    """A cat or a dog in some pose, from some side; now and then it looks away."""
    torso, *legs = POSES[rng.integers(3) :: 3]
    body = limb(FUR, *torso)
    for balls in legs:
        x, y, z, r = balls[-1]
        body += limb(FUR, *balls) + limb(POINT, (x, y, z, 1.08 * r), (x, y, z + 0.25, 1.1 * r))  # paws point forward
    bend = np.diag(rng.uniform((-3, -1, 0), (3, 1.6, 1.2)))
    body += moved([(POINT, np.array(TAIL))], bend, shift=torso[-1][:3])
    build = rng.uniform((0.8, 0.85, 0.8), (1.1, 1.1, 1.1)) * (1.1 if kind == "dog" else 1)
    side, away = rng.uniform(-75, 75), 110 * (rng.random() < 0.03)
    look = np.clip(0.5 * side + rng.normal(0, 20), -65, 65) + away
    body = moved(moved(body, np.diag(build)), rotation(side + away, 0, 0), rng.uniform(0.85, 1.25))
    head = cat_head(rng) if kind == "cat" else dog_head(rng)
    head = moved(head, rotation(look, rng.uniform(-15, 12), rng.normal(0, 9)))
    return moved(head + body, rotation(0, rng.uniform(-5, 25), rng.uniform(-8, 8)))


def framed(rng: Rng, limbs: list[Limb], size: Size) -> tuple[list[Limb], float]:
    """Limbs in pixels, and the pixels of a unit: from the whole animal to a face cut off."""
    balls = np.vstack([b for _, b in limbs])
    low, high = (balls[:, :3] - balls[:, 3:]).min(0), (balls[:, :3] + balls[:, 3:]).max(0)
    close, middle = rng.beta(1, 0.8), np.array([*size, 0]) / 2
    whole, face = 2 * (middle / (high - low))[:2].min(), min(size) / 2.9
    unit = whole ** (1 - close) * face**close * rng.uniform(0.8, 1.1)
    centre = (1 - close) * (low + high) / 2 * unit + rng.normal(0, 0.07, 3) * min(size)
    return moved(limbs, np.eye(3), unit, middle - centre), float(unit)


def props(rng: Rng, size: Size, z: float) -> list[Limb]:
    """At depth z, one of: a ball, a cushion, a blanket, a fence, a hand."""
    (x, y), r, (right, low) = rng.uniform((0, 0.4), 1) * size, 0.1 * min(size), size
    cushion, blanket = [(x, y, z, r), (x + 3 * r, y, z, r)], [(0, low, z, r), (right, low, z, 2 * r)]
    bars = [[(k, 0, z, r / 4), (k, low, z, r / 4)] for k in np.arange(x % (5 * r), right, 5 * r)]
    arm = [(x, y, z, 0.8 * r), (x + r, y + r, z, 0.6 * r), (right, low + r, z, r)]
    hand = [[(x, y, z, r / 2), (x + k * r, y - 1.8 * r, z, r / 4)] for k in (-0.7, -0.2, 0.3, 0.8)]
    kind = rng.integers(5)
    chains = ([cushion[:1]], [cushion], [blanket], bars, [arm, *hand])[kind]
    return [(SKIN if kind == 4 else PROP, np.array(balls)) for balls in chains]


# Painting. Limbs are rendered at twice the size of the picture and reduced, for smooth outlines.


def soft(field: Field, radius: float) -> Field:
    """The field blurred over about `radius` pixels."""
    size = field.shape[::-1]
    return np.asarray(Image.fromarray(field).resize([max(2, round(n / max(radius, 1))) for n in size]).resize(size))


def halved(field: Field) -> Field:
    return (field[::2, ::2] + field[1::2, ::2] + field[::2, 1::2] + field[1::2, 1::2]) / np.float32(4)


def noise(rng: Rng, size: Size, *cell: float) -> Field:
    """Smooth noise around 0 with structures of `cell` pixels (one number, or width and height)."""
    wide, high = (max(2, round(n / max(c, 1))) for n, c in zip(size, cell * 2, strict=False))
    return np.asarray(Image.fromarray(rng.standard_normal((high, wide), np.float32)).resize(size))


def render(limbs: list[Limb], rough: Field, light: Field) -> tuple[Field, Field, np.ndarray]:
    """At each pixel the depth of what is nearest (-inf: nothing), its light (-1 to 1), its paint."""
    depth, shade, paints = np.full_like(rough, -np.inf), 0 * rough, np.zeros(rough.shape, np.uint8)
    light_x, light_y, light_z = np.float32(light)
    cones = [(p, np.float32(ends)) for p, b in limbs for ends in (*pairwise(b), *zip(b, b, strict=True))]
    for paint, ends in cones:  # round two balls, or a single one
        (x0, y0, z0, r0), (dx, dy, dz, dr) = ends[0], ends[1] - ends[0]
        reach = 1.2 * ends[:, 3].max() + 1
        low, high = ends.min(0)[:2] - reach, ends.max(0)[:2] + reach
        (left, top), (right, bottom) = np.clip((low, high), 0, rough.shape[::-1]).astype(int)
        box = np.s_[top:bottom, left:right]
        y, x = (np.float32(axis) - start for axis, start in zip(np.ogrid[box], (y0, x0), strict=True))
        along = ((x * dx + y * dy) / (dx**2 + dy**2 + np.float32(1e-6))).clip(0, 1)
        radius = np.maximum(r0 + along * dr, 0.7) * rough[box]  # keeps thin hairs whole
        x, y = x - along * dx, y - along * dy
        rise = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
        z = np.where(rise > 0, z0 + along * dz + rise, -np.inf)
        won = z > depth[box]
        depth[box][won], paints[box][won] = z[won], paint
        shade[box][won] = ((x * light_x + y * light_y + rise * light_z) / radius)[won]
    return depth, shade, paints


def coat(rng: Rng, size: Size, unit: float) -> tuple[Field, Field]:
    """The fur of the body, and of ears, muzzle, paws and tail, which may have their own colour."""
    base, mark, point = rng.choice(COATS, 3) * np.float32(rng.uniform(0.85, 1.1))
    cell, gain, wave = [(1, 0, 0), (1, 1, 1), (1, 4, 0), (0.3, 3, 0), (3, 0.5, 0)][rng.integers(5)]
    y, x = (axis / unit for axis in np.ogrid[: size[1], : size[0]])
    stripes = np.sin(11 * x + rng.uniform(-6, 6) * y + 2 * noise(rng, size, unit))
    marks = wave * stripes + (1 - wave) * noise(rng, size, cell * unit)
    body = base + (mark - base) * np.clip(gain * marks, 0, 0.9)[..., None]
    hair = 1 + 0.1 * noise(rng, size, unit / 30, unit / 8) + 0.06 * noise(rng, size, unit / 3)
    return body * hair[..., None], (body if rng.random() < 0.6 else point) * hair[..., None]


def portrait(rng: Rng, kind: str, size: Size) -> tuple[Field, Field]:
    """An animal with its props, and the share of the ground that shows (and is lit) around it."""
    large = (2 * size[0], 2 * size[1])
    limbs, unit = framed(rng, animal(rng, kind), large)
    for z, odds in ((-1e4, 0.4), (1e4, 0.12)):
        limbs += props(rng, large, z) if rng.random() < odds else []
    rough = 1 + rng.uniform(0.01, 0.05) * noise(rng, large, unit / 25, unit / 10)
    depth, shade, paint = render(limbs, rough, rng.uniform((-0.6, -0.8, 0.7), (0.6, -0.2, 0.7)))
    there, depth = np.float32(depth > -np.inf), np.clip(depth, -4 * unit, 3 * unit)
    crease = np.clip((soft(depth, unit / 4) - depth) / unit, 0, 0.6)
    light = (0.4 + 0.75 * soft(np.maximum(shade, 0), unit / 12) - 0.6 * crease) * there
    paints = np.vstack([PAINTS, rng.choice(COATS[:3]), rng.choice(IRISES[kind]), rng.random(3)])
    layers = np.dstack([np.float32(paints)[paint], paint == FUR, paint == POINT]) * light[..., None]
    colour, fur, points = np.split(halved(layers), (3, 4), axis=2)
    body, extremes = coat(rng, size, unit / 2)
    bare = 1 - halved(there)
    ground = bare * (0.4 + 0.6 * soft(bare, unit / 3))
    return colour + fur * body + points * extremes, ground[..., None]


def scenery(rng: Rng, size: Size) -> Field:
    """A wall and a floor or a sky and a meadow, plain, tiled or blotched; never garish."""
    y, x = (axis / min(size) for axis in np.ogrid[: size[1], : size[0]])
    far, near, other = rng.uniform(0.2, 0.9, (3, 1)) + rng.uniform(-0.15, 0.15, (3, 3))
    if rng.random() < 0.3:
        far, near = np.array([(0.6, 0.75, 0.9), (0.35, 0.5, 0.2)]) * rng.uniform(0.7, 1, (2, 1))
    floor = np.clip((y - rng.uniform(0.2, 0.7)) * rng.choice((4, 40)), 0, 1)[..., None]
    tiles = np.sin(x * rng.uniform(8, 40)) * np.sin(y * rng.uniform(1, 40)) > rng.uniform(-0.2, 0.6)
    blotches = np.dstack([noise(rng, size, rng.uniform(0.1, 0.4) * min(size)) for _ in range(3)])
    tiled, blotched = (rng.random(2) < 0.35) * (0.5, 0.07)
    scene = far + (near - far) * floor + blotched * blotches
    scene += tiled * (other - scene) * tiles[..., None]
    return scene * (1 + 0.08 * noise(rng, size, *rng.uniform(2, 20, 2)))[..., None]


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


def draw(split: str, kind: str, index: int) -> Image.Image:
    """One RGB picture of a "cat" or "dog" (else KeyError), shortest side 112-160; the arguments are its seed."""
    rng = np.random.default_rng([VERSION, *f"{split}/{kind}/{index}".encode()])
    short = int(rng.integers(112, 161))
    size = (short, int(short * rng.uniform(1, 1.6)))[:: rng.choice((1, -1))]
    animals, ground = portrait(rng, kind, size)
    return photo(rng, animals + ground * scenery(rng, size))


def build(target: Path) -> None:
    """Write train/cats/cat.0.jpg ..., valid/..., test1/1.jpg ... into `target`. Used in lesson 1."""
    sets = [(s, k, i, f"{s}/{k}s/{k}.{i}.jpg") for s in COUNTS for k in KINDS for i in range(COUNTS[s])]
    kinds = np.random.default_rng(VERSION).permutation(KINDS * (TEST_COUNT // 2))
    sets += [("test1", str(kind), i, f"test1/{i}.jpg") for i, kind in enumerate(kinds, 1)]
    for split, kind, index, name in sets:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        draw(split, kind, index).save(target / name, quality=85)
