"""Stand-in for Kaggle's Dogs vs. Cats: small colour pictures of cats and dogs, drawn here.

Coat, pose, place and light are distributed alike for both kinds: only the anatomy tells them apart.
"""

import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from .drawing import (
    Field,
    Limb,
    Rng,
    Size,
    chain,
    halve,
    moved,
    noise,
    palette,
    photo,
    render,
    rotation,
    scenery,
    soft,
)

__all__ = ["COUNTS", "KINDS", "TEST_COUNT", "VERSION", "build", "draw"]

VERSION: int = 2
KINDS = ("cat", "dog")
COUNTS = {"train": 200, "valid": 100}  # pictures of each kind
TEST_COUNT = 20

PAINTS = (
    "fur",
    "point",
    "ear",
    "nose",
    "pupil",
    "white",
    "iris",
    "prop",
)  # points: ears, muzzle, paws, tail
COLOURS = palette("c08078 282020 0a0a0a f0f0f0")  # of ear, nose, pupil, white
COATS = palette("282424 4a3428 704c32 ba743a cea470 e2d0b0 ece8e2 868484 5c626c a08a70")
IRISES = {"cat": palette("9ea63c 70a0c4 ce9e32"), "dog": palette("70a0c4 7a4c24 543420")}
ANATOMY = tomllib.loads(Path(__file__).with_name("animals.toml").read_text("utf-8"))
EARS = {
    "cat": (0.98, 0.02, 0),
    "dog": (0.04, 0.1, 0.86),
}  # how often they are pointed, folded, pendant


def pair(paint: str, *balls: tuple) -> list[Limb]:
    """A limb and its mirror image."""
    limbs = chain(PAINTS.index(paint), *balls)
    return limbs + moved(limbs, np.diag((-1, 1, 1)))


def animal(rng: Rng, kind: str) -> list[Limb]:
    """A cat or a dog in some pose, from some side; now and then it looks away."""
    ears = rng.choice([*ANATOMY["ears"]], p=EARS[kind])
    head = [limb for part in ANATOMY["heads"][kind] + ANATOMY["ears"][ears] for limb in pair(*part)]
    pose = ANATOMY["bodies"]["poses"][rng.integers(3)]
    torso, legs = pose["torso"], pose["legs"]
    body = pair("fur", *torso)
    for leg in legs:
        body += pair("fur", *leg) + pair(
            "point", leg[-1], np.add(leg[-1], (0, 0, 0.25, 0.03))
        )  # paws point forward
    tail = chain(PAINTS.index("point"), *ANATOMY["bodies"]["tail"])
    body += moved(tail, np.diag(rng.uniform((-3, -1, 0), (3, 1.6, 1.2))), shift=torso[-1][:3])
    side, away = rng.uniform(-75, 75), 110 * (rng.random() < 0.03)
    body = moved(
        body,
        rotation(side + away, 0, 0) @ np.diag(rng.uniform(0.8, 1.2, 3)),
        rng.uniform(0.85, 1.25),
    )
    look = rotation(
        np.clip(side / 2 + rng.normal(0, 20), -65, 65) + away,
        rng.uniform(-15, 12),
        rng.normal(0, 9),
    )
    head = moved(head, look @ np.diag(rng.uniform((0.95, 0.95, 0.8), (1.05, 1.05, 1.2))))
    return moved(head + body, rotation(0, rng.uniform(-5, 25), rng.uniform(-8, 8)))


def framed(rng: Rng, limbs: list[Limb], size: Size) -> tuple[list[Limb], float]:
    """Limbs in pixels, and the pixels of a unit: from the whole animal to a face cut off."""
    balls = np.vstack([b for _, b in limbs])
    low, high = (balls[:, :3] - balls[:, 3:]).min(0), (balls[:, :3] + balls[:, 3:]).max(0)
    close, middle = rng.beta(1.3, 0.8), np.array([*size, 0]) / 2
    whole, face = 2 * (middle / (high - low))[:2].min(), min(size) / 2.9
    unit = whole ** (1 - close) * face**close * rng.uniform(0.8, 1.1)
    centre = (1 - close) * (low + high) / 2 * unit + rng.normal(0, 0.07, 3) * min(size)
    return moved(limbs, np.eye(3), unit, middle - centre), float(unit)


def prop(rng: Rng, size: Size, z: float) -> list[Limb]:
    """Something at depth z: a ball, a cushion, a rail, the edge of a blanket."""
    at, r, a = (
        rng.uniform((0, 0.4), 1) * size,
        rng.uniform(0.02, 0.09) * min(size),
        rng.uniform(-0.5, 0.5),
    )
    end = at + rng.choice((0, 3 * r, sum(size))) * np.array((np.cos(a), np.sin(a)))
    return chain(PAINTS.index("prop"), (*at, z, r), (*end, z, r))


def coat(rng: Rng, size: Size, unit: float) -> tuple[Field, Field]:
    """The fur of the body, and of ears, muzzle, paws and tail, which may have their own colour."""
    base, mark, point = rng.choice(COATS, 3) * np.float32(rng.uniform(0.85, 1.1))
    y, x = (axis / unit for axis in np.ogrid[: size[1], : size[0]])
    stripes = np.sin(11 * x + rng.uniform(-6, 6) * y + 2 * noise(rng, size, unit))
    marks = (0, 4 * noise(rng, size, unit), 3 * noise(rng, size, 0.3 * unit), stripes)[
        rng.integers(4)
    ]
    body = base + (mark - base) * np.clip(marks, 0, 0.9)[..., None]
    hair = 1 + 0.07 * noise(rng, size, unit / 30, unit / 8)[..., None]
    return body * hair, (body if rng.random() < 0.6 else point) * hair


def draw(split: str, kind: str, index: int) -> Image.Image:
    """One RGB picture of a "cat" or "dog" (else KeyError), shortest side 112-160; the arguments are its seed."""
    rng = np.random.default_rng([VERSION, *f"{split}/{kind}/{index}".encode()])
    short = int(rng.integers(112, 161))
    size = (2 * short, 2 * int(short * rng.uniform(1, 1.6)))[
        :: rng.choice((1, -1))
    ]  # twice that of the picture
    limbs, unit = framed(rng, animal(rng, kind), size)
    for z, odds in ((-1e4, 0.4), (1e4, 0.1)):
        limbs += prop(rng, size, z) if rng.random() < odds else []
    rough = 1 + rng.uniform(0.01, 0.05) * noise(rng, size, unit / 25, unit / 10)
    depth, shade, paint = render(limbs, rough, rng.uniform((-0.6, -0.8, 0.7), (0.6, -0.2, 0.7)))
    there, depth = depth > -np.inf, np.clip(depth, -4 * unit, 3 * unit)
    crease = np.clip((soft(depth, unit / 4) - depth) / unit, 0, 0.6)
    light = 0.4 + 0.75 * soft(shade.clip(0), unit / 12) - 0.6 * crease
    paints = [*coat(rng, size, unit), *COLOURS, rng.choice(IRISES[kind]), rng.uniform(0.1, 0.9, 3)]
    colours = np.select([(paint == number)[..., None] for number in range(len(paints))], paints)
    ground = scenery(rng, size) * (1 - 0.6 * soft(np.float32(there), unit / 3))[..., None]
    return photo(rng, halve(np.where(there[..., None], colours * light[..., None], ground)))


def build(target: Path) -> None:
    """Write train/cats/cat.0.jpg ..., valid/..., test1/1.jpg ... into `target`. Used in lesson 1."""
    sets = [
        (s, k, i, f"{s}/{k}s/{k}.{i}.jpg") for s in COUNTS for k in KINDS for i in range(COUNTS[s])
    ]
    kinds = np.random.default_rng(VERSION).permutation(KINDS * (TEST_COUNT // 2))
    sets += [("test1", str(kind), i, f"test1/{i}.jpg") for i, kind in enumerate(kinds, 1)]
    for split, kind, index, name in sets:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        draw(split, kind, index).save(target / name, quality=85)
