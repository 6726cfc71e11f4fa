"""Stand-in for Kaggle's State Farm: drivers in ten postures, seen from the passenger's side, drawn here.

The pictures of a driver in a posture are frames of one film, nearly alike, and each driver has a look of its own.
"""

import tomllib
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from .drawing import Field, Limb, chain, halve, moved, noise, palette, render, rotation

__all__ = ["DRIVERS", "FRAMES", "POSTURES", "SIZE", "TEST", "VERSION", "build", "draw"]

VERSION: int = 1
SIZE, DRIVERS, FRAMES, TEST = (
    (80, 60),
    26,
    6,
    4,
)  # pixels; drivers; frames of a film; drivers of test
WIDE = (2 * SIZE[0], 2 * SIZE[1])  # painted at twice the size
SKIN, HAIR, SHIRT, LEGS, THING, SEAT, DASH, WHEEL, SLEEVE = range(9)
SKINS, HAIRS = (
    palette("f0c8a8dca884b87c548c5a3c5c3a28"),
    palette("1c16142e20185a3a208a6238b0a4986a2c1c"),
)
POSTURES = tomllib.loads(Path(__file__).with_name("postures.toml").read_text("utf-8"))


def arm(side: float, hand: Field, fore: int) -> list[Limb]:
    elbow = np.add(hand, (0.1, 2.3, 1.25 * side)) / 2 + (-0.2, 1.1, 0.5 * side)
    upper = chain(SHIRT, (0.1, 2.3, 1.25 * side, 0.62), (*elbow, 0.46))
    return upper + chain(fore, (*elbow, 0.45), (*hand, 0.3)) + chain(SKIN, (*hand, 0.42))


def person(posture: str, shift: Field, fore: int, hair: float) -> list[Limb]:
    """A driver; the rows of `shift` (4, 3) move the right hand, the left hand, the head and what a hand holds."""
    known = POSTURES[posture]
    hands = np.array(known["hands"]) + shift[:2]
    head = chain(SKIN, (0, 0, 0, 0.95), (0.2, 0.5, 0, 0.7)) + chain(SKIN, (0.95, 0.15, 0, 0.18))
    head += chain(HAIR, (-0.2, -0.4, 0, hair), (-0.4, 0.1, 0, 0.8))
    head = moved(
        head, rotation(-known["turn"] - 15 * shift[2, 2], 0, 0), shift=(0.3, 0, 0) + shift[2] / 3
    )
    body = chain(SHIRT, (0.1, 2.6, 0, 1.2), (-0.1, 6, 0, 1.3)) + chain(SKIN, (0.1, 1.2, 0, 0.5))
    body += chain(LEGS, (0, 6.4, 0.6, 0.95), (5, 5.9, 0.8, 0.75), (7, 9, 0.8, 0.6))
    if "holds" in known:
        x, y, z = hands[known["holds"]] + (0.2, -0.4, 0.3) + shift[3] / 4
        body += chain(THING, (x, y + 0.5, z, 0.32), (x, y - 0.5, z, 0.32))
    return head + body + arm(1, hands[0], fore) + arm(-1, hands[1], fore)


@cache
def look(driver: int) -> SimpleNamespace:
    """What all pictures of a driver share: person, clothes, camera, light, and the car, painted."""
    rng = np.random.default_rng([VERSION, driver])
    me = SimpleNamespace(
        fore=int(rng.choice((SKIN, SLEEVE))), hair=rng.uniform(0.8, 1.1), unit=rng.uniform(11, 12.5)
    )
    clothes = (rng.uniform(0.1, 0.85, (2, 1)) + rng.normal(0, 0.15, (2, 3))).clip(0, 1)
    inside = rng.uniform(0.08, 0.4, (4, 1)) + rng.normal(0, 0.02, (4, 3))
    me.paints = np.vstack([rng.choice(SKINS), rng.choice(HAIRS), clothes, inside, clothes[:1]])
    me.build, me.turn = (
        np.diag(rng.uniform(0.88, 1.12, 3)),
        rotation(*rng.normal((8, 8, 0), (7, 4, 3))),
    )
    me.middle, me.light = (
        (*rng.uniform((40, 28), (50, 36)), 0),
        rng.uniform((-0.5, -0.9, 0.5), (0.7, -0.3, 0.8)),
    )
    y, x = (axis / me.unit for axis in np.ogrid[: WIDE[1], : WIDE[0]])
    me.stripes = 1 - rng.choice((0, 0.4)) * (
        np.sin(rng.uniform(4, 9) * y + rng.uniform(-3, 3) * x) > 0
    )
    me.window = (
        (y - me.middle[1] / me.unit < rng.uniform(0.8, 2.4) - 0.15 * x) & (x > rng.uniform(1, 4))
    )[..., None]
    me.walls, me.tint = (
        inside[3] * (1 + 0.3 * noise(rng, WIDE, 20)[..., None]),
        rng.normal(1, 0.06, 3),
    )
    me.outside, a = rng.uniform(0.5, 1) + rng.uniform(-0.1, 0.1, 3), np.linspace(0, 2 * np.pi, 11)
    rim = np.c_[7 + 0.7 * np.sin(a), 3.8 - 1.9 * np.sin(a), 1.7 * np.cos(a) - 0.2, 0.2 + 0 * a]
    car = chain(SEAT, (-1.8, 1.5, 0, 1.2), (-1.2, 6.6, 0, 1.4), (4, 7.6, 0, 1.3)) + chain(
        SEAT, (-1.7, -0.1, 0, 0.8)
    )
    car += chain(DASH, (8, 4.4, -2.5, 1.2), (12, 3, -1, 2), (12, 7, 0, 2.6)) + chain(WHEEL, *rim)
    me.car = render(
        moved(car, me.turn, me.unit, me.middle), np.ones(WIDE[::-1], np.float32), me.light
    )
    return me


def draw(driver: int, posture: str, frame: int) -> Image.Image:
    """A frame of the film of a driver in a posture, "c0" to "c9"; the arguments are its seed. ValueError for others."""
    seed, me = [VERSION, driver, [*POSTURES].index(posture)], look(driver)
    film, now = np.random.default_rng(seed), np.random.default_rng([*seed, frame])
    me.paints[THING], shift = (
        film.random(3),
        film.normal(0, 0.35, (4, 3)) + now.normal(0, 0.08, (4, 3)),
    )
    limbs = moved(person(posture, shift, me.fore, me.hair), me.turn @ me.build, me.unit, me.middle)
    made = render(limbs, np.ones(WIDE[::-1], np.float32), me.light)
    depth, shade, paint = (
        np.where(made[0] > me.car[0], *both) for both in zip(made, me.car, strict=True)
    )
    scene = (
        me.paints[paint]
        * ((0.35 + 0.75 * shade.clip(0)) * np.where(paint == SHIRT, me.stripes, 1))[..., None]
    )
    ground = np.where(me.window, me.outside + 0.12 * noise(now, WIDE, 12)[..., None], me.walls)
    scene = np.where((depth > -np.inf)[..., None], scene, ground) * film.normal(1, 0.1) * me.tint
    return Image.fromarray(
        np.uint8(255 * (halve(scene) + now.normal(0, 0.015, (*SIZE[::-1], 3))).clip(0, 1))
    )


def build(target: Path) -> None:
    """Write driver_imgs_list.csv (subject, classname, img), train/c0/img_N.jpg, ... and test/img_N.jpg, ..."""
    films = [
        (d, c, k)
        for c in POSTURES
        for d in range(DRIVERS + TEST)
        for k in range(FRAMES if d < DRIVERS else 2)
    ]
    table, names = (
        [],
        np.random.default_rng(VERSION).permutation(len(films)),
    )  # a number that tells nothing
    for (driver, posture, frame), name in zip(films, names, strict=True):
        file = target / (f"train/{posture}" if driver < DRIVERS else "test") / f"img_{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(driver, posture, frame).save(file, quality=90)
        table += [f"p{driver:03d},{posture},{file.name}\n"] * (driver < DRIVERS)
    (target / "driver_imgs_list.csv").write_text(
        "subject,classname,img\n" + "".join(sorted(table)), "utf-8"
    )
