"""Stand-in for Kaggle's Dogs vs. Cats: small colour pictures of cats and dogs, drawn here.

Coat, pose, place and light are distributed alike for both kinds: only the anatomy (head, ears, and
the colours that eyes can have) tells them apart. So a model must look at the animal.

The unit of length is the radius of the head, until `framed` turns it into pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .bodies import Limb, Part, Surface, limb, moved, parts, render, rotation
from .drawing import Field, Rng, Size, halve, noise, palette, photo, scenery, soft, table

__all__ = ["COUNTS", "KINDS", "TEST_COUNT", "VERSION", "build", "draw"]

VERSION: int = 2
KINDS = ("cat", "dog")
COUNTS = {"train": 200, "valid": 100}  # pictures of each kind
TEST_COUNT = 20

Ball = list[float]  # x (right), y (down), z (near), radius


@dataclass(frozen=True)
class Pose:
    """A body; of its legs those of one side, each down to the paw."""

    name: str
    torso: list[Ball]
    legs: list[list[Ball]]


ANATOMY = table("animals.toml")
HEADS = {kind: parts(rows) for kind, rows in ANATOMY["heads"].items()}  # of each pair one limb
EARS = {shape: parts(rows) for shape, rows in ANATOMY["ears"].items()}
POSES = [Pose(**row) for row in ANATOMY["poses"]]
TAIL: list[Ball] = ANATOMY["tail"]["balls"]
EAR_ODDS = {
    "cat": {"pointed": 0.98, "folded": 0.02, "pendant": 0.0},
    "dog": {"pointed": 0.04, "folded": 0.1, "pendant": 0.86},
}

# "point": ears, muzzle, paws and tail, which may have a colour of their own
PAINTS = ("fur", "point", "ear", "nose", "pupil", "white", "iris", "prop")
EAR, NOSE, PUPIL, WHITE = palette("c08078 282020 0a0a0a f0f0f0")
COATS = palette("282424 4a3428 704c32 ba743a cea470 e2d0b0 ece8e2 868484 5c626c a08a70")
IRISES = {"cat": palette("9ea63c 70a0c4 ce9e32"), "dog": palette("70a0c4 7a4c24 543420")}


def both_sides(part: Part) -> list[Limb]:
    """A limb and its mirror image."""
    one = [limb(PAINTS.index(part.paint), *part.balls)]
    mirror = np.diag((-1, 1, 1))
    return one + moved(one, mirror)


def head(rng: Rng, kind: str) -> list[Limb]:
    """That of a cat or a dog, whose ears can be of any shape that its kind has."""
    odds = EAR_ODDS[kind]
    shape = rng.choice(list(odds), p=list(odds.values()))
    limbs = []
    for part in HEADS[kind] + EARS[shape]:
        limbs += both_sides(part)
    return limbs


def body(rng: Rng) -> list[Limb]:
    """The same for both kinds: sitting, standing or lying, its tail anyhow."""
    pose = POSES[rng.integers(len(POSES))]
    limbs = both_sides(Part("fur", pose.torso))
    for leg in pose.legs:
        ankle = leg[-1]
        x, y, z, radius = ankle
        toes = [x, y, z + 0.25, radius + 0.03]  # before the ankle
        limbs += both_sides(Part("fur", leg))
        limbs += both_sides(Part("point", [ankle, toes]))
    tail = limb(PAINTS.index("point"), *TAIL)
    swing = rng.uniform((-3, -1, 0), (3, 1.6, 1.2))
    root = pose.torso[-1][:3]
    return limbs + moved([tail], np.diag(swing), shift=root)


def animal(rng: Rng, kind: str) -> list[Limb]:
    """A cat or a dog in some pose, from some side; now and then it looks away. Degrees."""
    face, rest = head(rng, kind), body(rng)
    side = rng.uniform(-75, 75)
    away = 110 if rng.random() < 0.03 else 0
    build = rng.uniform(0.8, 1.2, 3)
    turn = rotation(side + away, 0, 0)
    scale = rng.uniform(0.85, 1.25)
    rest = moved(rest, turn @ np.diag(build), scale)

    # The head follows the body half-way, so that most animals look at the viewer
    yaw = side / 2 + rng.normal(0, 20)
    yaw = np.clip(yaw, -65, 65)
    pitch = rng.uniform(-15, 12)
    roll = rng.normal(0, 9)
    build = rng.uniform((0.95, 0.95, 0.8), (1.05, 1.05, 1.2))
    turn = rotation(yaw + away, pitch, roll)
    face = moved(face, turn @ np.diag(build))

    from_above = rng.uniform(-5, 25)
    tilt = rng.uniform(-8, 8)
    return moved(face + rest, rotation(0, from_above, tilt))


def framed(rng: Rng, limbs: list[Limb], size: Size) -> tuple[list[Limb], float]:
    """Limbs in pixels, and the pixels of a unit: from the whole animal to a face cut off."""
    balls = np.vstack([balls for _, balls in limbs])  # (n, 4)
    centres = balls[:, :3]
    radii = balls[:, 3:]
    low = (centres - radii).min(0)
    high = (centres + radii).max(0)
    middle = np.array([*size, 0]) / 2  # of the picture
    close = rng.beta(1.3, 0.8)  # 0 the whole animal, 1 its face
    fit = 2 * middle / (high - low)
    whole = fit[:2].min()  # pixels of a unit in either case
    face = min(size) / 2.9
    between = whole ** (1 - close) * face**close
    unit = float(between * rng.uniform(0.8, 1.1))  # no number of NumPy: fields stay float32
    centre = (1 - close) * (low + high) / 2 * unit
    slip = rng.normal(0, 0.07, 3) * min(size)
    shift = middle - (centre + slip)
    return moved(limbs, np.eye(3), unit, shift), unit


def prop(rng: Rng, size: Size, z: float) -> Limb:
    """Something at depth z: a ball, a cushion, a rail, the edge of a blanket."""
    x, y = rng.uniform((0, 0.4), 1) * size
    radius = rng.uniform(0.02, 0.09) * min(size)
    slope = rng.uniform(-0.5, 0.5)  # radians
    length = rng.choice((0, 3 * radius, sum(size)))
    first = [x, y, z, radius]
    last = [x + length * np.cos(slope), y + length * np.sin(slope), z, radius]
    return limb(PAINTS.index("prop"), first, last)


def props(rng: Rng, size: Size) -> list[Limb]:
    """Behind the animal often, before it now and then."""
    limbs = []
    for z, odds in ((-1e4, 0.4), (1e4, 0.1)):
        if rng.random() < odds:
            limbs.append(prop(rng, size, z))
    return limbs


def coat(rng: Rng, size: Size, unit: float) -> tuple[Field, Field]:
    """The fur of the body and that of the points, (height, width, 3) each."""
    colours = rng.choice(COATS, 3)
    brightness = np.float32(rng.uniform(0.85, 1.1))
    base, mark, point = colours * brightness
    width, height = size
    y, x = np.ogrid[:height, :width]
    slant = rng.uniform(-6, 6)
    waves = 2 * noise(rng, size, unit)
    phase = 11 * (x / unit) + slant * (y / unit)
    stripes = np.sin(phase + waves)
    patches = 4 * noise(rng, size, unit)
    spots = 3 * noise(rng, size, 0.3 * unit)
    plain = np.zeros_like(stripes)
    marks = (plain, patches, spots, stripes)[rng.integers(4)]
    there = marks.clip(0, 0.9)[..., None]  # (height, width, 1)
    fur = base + (mark - base) * there
    hair = noise(rng, size, unit / 30, unit / 8)
    hair = 1 + 0.07 * hair[..., None]
    points = fur if rng.random() < 0.6 else point
    return fur * hair, points * hair


def colours_of(rng: Rng, paint: np.ndarray, kind: str, unit: float) -> Field:
    """Colours (height, width, 3) for the numbers of paints (height, width)."""
    height, width = paint.shape
    fur, points = coat(rng, (width, height), unit)
    iris = rng.choice(IRISES[kind])
    of_prop = rng.uniform(0.1, 0.9, 3)
    colours = [fur, points, EAR, NOSE, PUPIL, WHITE, iris, of_prop]  # in the order of PAINTS
    masks = [paint[..., None] == number for number in range(len(PAINTS))]
    return np.select(masks, colours)


def lit(surface: Surface, unit: float) -> Field:
    """How bright each pixel of an animal is, (height, width): light, and dark creases."""
    depth = surface.depth.clip(-4 * unit, 3 * unit)
    deeper = soft(depth, unit / 4) - depth  # than what is around it
    crease = (deeper / unit).clip(0, 0.6)
    shade = soft(surface.shade.clip(0), unit / 12)
    return 0.4 + 0.75 * shade - 0.6 * crease


def picture_size(rng: Rng) -> Size:
    """Upright or across, the shorter side from 112 to 160 pixels."""
    short = int(rng.integers(112, 161))
    long = int(short * rng.uniform(1, 1.6))
    is_upright = rng.integers(2) == 0
    return (short, long) if is_upright else (long, short)


def draw(split: str, kind: str, index: int) -> Image.Image:
    """One RGB picture of a "cat" or "dog" (else KeyError), shortest side 112 to 160 pixels.

    The arguments are its seed. It is drawn at twice the size.
    """
    name = f"{split}/{kind}/{index}"
    rng = np.random.default_rng([VERSION, *name.encode()])
    width, height = picture_size(rng)
    size = (2 * width, 2 * height)
    limbs, unit = framed(rng, animal(rng, kind), size)
    limbs += props(rng, size)
    roughness = rng.uniform(0.01, 0.05)
    fluff = noise(rng, size, unit / 25, unit / 10)
    from_above = rng.uniform((-0.6, -0.8, 0.7), (0.6, -0.2, 0.7))
    surface = render(limbs, 1 + roughness * fluff, from_above)

    light = lit(surface, unit)
    colours = colours_of(rng, surface.paint, kind, unit)
    there = surface.depth > -np.inf
    near_it = soft(there.astype(np.float32), unit / 3)
    shadow = 1 - 0.6 * near_it
    ground = scenery(rng, size) * shadow[..., None]
    lit_animal = colours * light[..., None]
    scene = np.where(there[..., None], lit_animal, ground)
    return photo(rng, halve(scene))


def build(target: Path) -> None:
    """Write train/cats/cat.0.jpg ..., valid/..., test1/1.jpg ... Used in lesson 1."""
    pictures = []
    for split, count in COUNTS.items():
        for kind in KINDS:
            for i in range(count):
                name = f"{split}/{kind}s/{kind}.{i}.jpg"
                pictures.append((split, kind, i, name))
    rng = np.random.default_rng(VERSION)
    half = TEST_COUNT // 2
    for i, kind in enumerate(rng.permutation(KINDS * half), 1):
        pictures.append(("test1", kind, i, f"test1/{i}.jpg"))  # the name does not tell the kind
    for split, kind, index, name in pictures:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(split, kind, index).save(path, quality=85)
