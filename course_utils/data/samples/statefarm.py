"""Stand-in for Kaggle's State Farm: drivers in ten postures, from the passenger's side, drawn here.

The pictures of a driver in a posture are frames of one film, nearly alike, and each driver has a
look of their own. So whoever validates on drivers seen in training measures memory: that is what
the lesson shows.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .bodies import Limb, Surface, moved, render, rotation
from .drawing import Field, Rng, grey, halve, noise, palette
from .drivers import POSTURES, Paint, Shifts, car, person

__all__ = ["DRIVERS", "FRAMES", "POSTURES", "SIZE", "TEST", "VERSION", "build", "draw"]

VERSION: int = 1
SIZE = (80, 60)  # pixels
DRIVERS = 26  # of train
FRAMES = 6  # of each of their films
TEST = 4  # drivers of test: others, who come after those of train
TEST_FRAMES = 2  # of each of their films

WIDTH, HEIGHT = 2 * SIZE[0], 2 * SIZE[1]  # it is painted at twice the size
SKINS = palette("f0c8a8 dca884 b87c54 8c5a3c 5c3a28")
HAIRS = palette("1c1614 2e2018 5a3a20 8a6238 b0a498 6a2c1c")

# What all pictures of a driver share


class Camera(NamedTuple):
    """How limbs become pixels."""

    unit: float  # pixels of a radius of the head
    turn: np.ndarray  # (3, 3)
    middle: tuple[float, float, float]  # where the head is, pixels
    light: Field  # (3,), the direction that the light comes from

    def take(self, limbs: list[Limb], build: np.ndarray) -> Surface:
        """What is seen of limbs that are stretched by `build` (3, 3) first."""
        placed = moved(limbs, self.turn @ build, self.unit, self.middle)
        smooth = np.ones((HEIGHT, WIDTH), np.float32)
        return render(placed, smooth, self.light)


@dataclass(frozen=True)
class Look:
    """Person, clothes, camera, light, and the car."""

    forearm: Paint  # bare or in a sleeve
    hair: float  # its radius
    build: np.ndarray  # (3, 3), stretches the body
    paints: Field  # (9, 3), colours in the order of `Paint`
    stripes: Field  # (height, width), brightness of the shirt
    tint: Field  # (3,), of the camera
    camera: Camera
    car: Surface
    window: np.ndarray  # (height, width, 1), where one sees out
    walls: Field  # (height, width, 3), the inside of the car
    outside: Field  # (3,), the colour of what is seen through the window


@cache
def look(driver: int) -> Look:
    """That of a driver, who is the seed; painted once."""
    rng = np.random.default_rng([VERSION, driver])
    forearm = Paint.SKIN if rng.integers(2) == 0 else Paint.SLEEVE
    hair = rng.uniform(0.8, 1.1)
    unit = rng.uniform(11, 12.5)
    paints = _paints(rng)
    build = np.diag(rng.uniform(0.88, 1.12, 3))
    camera = _camera(rng, unit)

    y, x = np.ogrid[:HEIGHT, :WIDTH]
    y, x = y / unit, x / unit
    contrast = rng.choice((0, 0.4))  # plain or striped
    density, slant = rng.uniform((4, -3), (9, 3))
    wave = np.sin(density * y + slant * x)
    stripes = 1 - contrast * (wave > 0)
    sill = rng.uniform(0.8, 2.4) - 0.15 * x  # lower edge of the window, from the head down
    pillar = rng.uniform(1, 4)
    window = (y - camera.middle[1] / unit < sill) & (x > pillar)
    dirt = 0.3 * noise(rng, (WIDTH, HEIGHT), 20)[..., None]
    walls = paints[Paint.WHEEL] * (1 + dirt)
    tint = rng.normal(1, 0.06, 3)
    outside = grey(rng, 0.5, 1, cast=0.1)
    return Look(
        forearm=forearm,
        hair=hair,
        build=build,
        paints=paints,
        stripes=stripes,
        tint=tint,
        camera=camera,
        car=camera.take(car(), np.eye(3)),
        window=window[..., None],
        walls=walls,
        outside=outside,
    )


def _paints(rng: Rng) -> Field:
    """Colours (9, 3) in the order of `Paint`."""
    greys = rng.uniform(0.1, 0.85, (2, 1))
    clothes = (greys + rng.normal(0, 0.15, (2, 3))).clip(0, 1)
    dark = rng.uniform(0.08, 0.4, (4, 1))
    inside = dark + rng.normal(0, 0.02, (4, 3))  # thing, seat, dashboard, wheel
    skin = rng.choice(SKINS)
    hair = rng.choice(HAIRS)
    shirt = clothes[0]
    return np.vstack([skin, hair, clothes, inside, shirt])


def _camera(rng: Rng, unit: float) -> Camera:
    """Looking a little down and from ahead; no two cars have it in the same place."""
    yaw, pitch, roll = rng.normal((8, 8, 0), (7, 4, 3))
    x, y = rng.uniform((40, 28), (50, 36))
    light = rng.uniform((-0.5, -0.9, 0.5), (0.7, -0.3, 0.8))
    return Camera(unit, rotation(yaw, pitch, roll), (x, y, 0), light)


def draw(driver: int, posture: str, frame: int) -> Image.Image:
    """A frame of the film of a driver in a posture, "c0" to "c9"; the arguments are its seed.

    ValueError for other postures.
    """
    if posture not in POSTURES:
        known = ", ".join(POSTURES)
        raise ValueError(f"there is no posture {posture}, only {known}")
    number = int(posture.removeprefix("c"))
    seed = [VERSION, driver, number]
    film = np.random.default_rng(seed)
    now = np.random.default_rng([*seed, frame])
    me = look(driver)
    paints = me.paints.copy()
    paints[Paint.THING] = film.random(3)
    # Two films of a posture differ by more than two frames of a film
    of_film = film.normal(0, 0.35, (4, 3))
    shifts = Shifts(*(of_film + now.normal(0, 0.08, (4, 3))))

    limbs = person(POSTURES[posture], shifts, me.forearm, me.hair)
    driven = me.camera.take(limbs, me.build)
    surface = nearer(driven, me.car)
    light = 0.35 + 0.75 * surface.shade.clip(0)  # (height, width)
    is_shirt = surface.paint == Paint.SHIRT
    light = light * np.where(is_shirt, me.stripes, 1)
    lit = paints[surface.paint] * light[..., None]  # (height, width, 3)
    clouds = 0.12 * noise(now, (WIDTH, HEIGHT), 12)[..., None]  # or trees: the car moves
    ground = np.where(me.window, me.outside + clouds, me.walls)
    there = surface.depth > -np.inf
    scene = np.where(there[..., None], lit, ground)

    exposure = film.normal(1, 0.1)
    picture = halve(scene * exposure * me.tint)  # of SIZE now
    picture = picture + now.normal(0, 0.015, picture.shape)  # grain
    return Image.fromarray(np.uint8(255 * picture.clip(0, 1)))


def nearer(one: Surface, other: Surface) -> Surface:
    """Of two surfaces at each pixel what is nearer to the camera."""
    wins = one.depth > other.depth
    return Surface(
        depth=np.where(wins, one.depth, other.depth),
        shade=np.where(wins, one.shade, other.shade),
        paint=np.where(wins, one.paint, other.paint),
    )


def build(target: Path) -> None:
    """Write driver_imgs_list.csv (subject, classname, img), train/c0/img_N.jpg, test/img_N.jpg.

    The numbers are shuffled over all, so that a name tells nothing.
    """
    films = []
    for posture in sorted(POSTURES):
        for driver in range(DRIVERS + TEST):
            frames = FRAMES if driver < DRIVERS else TEST_FRAMES
            films += [(driver, posture, frame) for frame in range(frames)]
    numbers = np.random.default_rng(VERSION).permutation(len(films))
    rows = []
    for (driver, posture, frame), number in zip(films, numbers, strict=True):
        folder = target / "test"
        if driver < DRIVERS:
            folder = target / "train" / posture
            rows.append(f"p{driver:03d},{posture},img_{number}.jpg\n")
        folder.mkdir(parents=True, exist_ok=True)
        draw(driver, posture, frame).save(folder / f"img_{number}.jpg", quality=90)
    table = "subject,classname,img\n" + "".join(sorted(rows))
    (target / "driver_imgs_list.csv").write_text(table, "utf-8")
