"""Stand-in for the fisheries competition, drawn here. Each boat has one camera and its own mix of species."""

import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .drawing import Field, Rng, noise, palette, photo

__all__ = ["BOATS", "FISH", "KINDS", "SPLITS", "VERSION", "build", "draw"]

VERSION: int = 1
KINDS = ("ALB", "DOL", "LAG", "NoF", "SHARK", "YFT")
BOATS = [
    (256, 144, "ALB"),
    (256, 150, "ALB"),
    (256, 195, "YFT"),
    (238, 134, "DOL"),
    (266, 150, "SHARK"),
]
BOATS += [
    (304, 171, "LAG"),
    (256, 144),
    (256, 195),
    (238, 134),
    (304, 171),
]  # width, height, half of the catch
SPLITS = {
    "train": (range(6), 10),
    "valid": (range(6), 4),
    "new_boats": (range(6, 10), 10),
}  # boats; times KINDS
FISH = tomllib.loads(Path(__file__).with_name("fish.toml").read_text("utf-8"))


def turned(rng: Rng, scene: Field, margin: float) -> Field:
    """Coordinates, in heights of the picture, along and across a random direction from a place `margin` inside it."""
    (y, x), a = np.mgrid[: len(scene), : scene.shape[1]] / len(scene), rng.uniform(0, 2 * np.pi)
    x, y = x - rng.uniform(margin, x.max() - margin), y - rng.uniform(margin, 1 - margin)
    return np.float32((x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)))


def paint(scene: Field, depth: Field, colour: Field) -> None:
    """Cover the scene where depth, in heights of the picture, is above 0."""
    scene += (depth * len(scene) + 0.5).clip(0, 1)[..., None] * np.float32(colour - scene)


def things(rng: Rng, scene: Field, n: int, low: float, high: float) -> None:
    """n boxes or round things of any colour, anywhere."""
    for sides in np.float32(rng.uniform(low, high, (n, 2))):
        uv, colour = (
            turned(rng, scene, 0) / sides[:, None, None],
            rng.uniform(0.1, 0.9) + rng.uniform(-0.15, 0.15, 3),
        )
        far = np.hypot(*uv) if rng.random() < 0.5 else abs(uv).max(0)
        paint(scene, sides.min() * (1 - far), colour * (1 + uv[1, ..., None] / 5))


@cache
def deck(boat: int) -> Field:
    """What the camera of a boat always sees: planks, the sea, some structures."""
    rng, size = np.random.default_rng([VERSION, boat]), BOATS[boat][:2]
    scene = np.zeros((*size[::-1], 3), np.float32) + np.float32(
        rng.uniform(0.3, 0.7) + rng.uniform(-0.1, 0.1, 3)
    )
    u, v = turned(rng, scene, 0.4)
    scene += (0.04 * np.sin(rng.uniform(30, 70) * u) + 0.06 * noise(rng, size, 12))[..., None]
    paint(
        scene,
        v - rng.uniform(0.3, 0.5),
        np.array((0.12, 0.25, 0.32)) + 0.08 * noise(rng, size, 9, 3)[..., None],
    )
    things(rng, scene, 5, 0.05, 0.25)
    return scene


def fish(rng: Rng, scene: Field, kind: str) -> list[int]:
    """Lay a fish on the deck; x, y, width, height of all that is seen of it, in pixels."""
    colours, tall, tail, head, (rise, place, wide, below), breast, marked = FISH[kind].values()
    back, belly, fin, mark = palette(colours) * rng.uniform(0.85, 1.15) + rng.normal(
        0, 0.02, (4, 3)
    )
    length = np.float32(rng.uniform(0.19, 0.27) * (1 - 0.5 * max(0, tall - 0.3)))
    u, v = turned(rng, scene, 1.25 * length) / length
    t, v = (
        ((u + 1) / 2).clip(0, 1),
        np.float32(rng.choice((-1, 1)) * (v + rng.normal(0, 0.08) * u**2)),
    )
    half = np.float32(tall * rng.uniform(0.9, 1.1) * (1 + tail + head)) * t**tail * (1 - t) ** head
    fins = rise * (1 - abs(u - place) / wide).clip(0, 1) * np.where(v < 0, 1, below)
    stern = np.minimum(0.03 - 0.85 * (u + 0.8) - abs(v), 1.2 + u + 0.5 * abs(v))
    depth = length * np.maximum(np.where(abs(u) < 1, half + fins - abs(v), -1), stern)
    across = (v / (half + 0.05))[..., None]
    skin = (belly + (back - belly) * (0.5 - 2 * across).clip(0, 1)) * (1.1 - 0.5 * across**2).clip(
        0.6, 1.1
    )
    skin += marked * (noise(rng, u.shape[::-1], 5)[..., None] > 0.6) * (mark - skin)
    skin = np.where(((abs(v) > half) | (u < -0.8))[..., None], fin, skin)
    paint(
        skin,
        length
        * np.minimum(0.05 - abs(v - 0.04 - 0.05 * u), breast / 2 - abs(u - 0.5 + breast / 2)),
        fin,
    )
    paint(scene, depth, skin)
    x, y = (np.flatnonzero((depth > 0).any(axis)) for axis in (0, 1))
    return [int(n) for n in (x[0], y[0], x[-1] - x[0] + 1, y[-1] - y[0] + 1)]


def draw(kind: str, boat: int, rng: Rng) -> tuple[Image.Image, list[int]]:
    """A picture, and the box of its fish (zeros for NoF)."""
    things(rng, scene := deck(boat).copy(), rng.integers(1, 5), 0.02, 0.1)
    box = [0] * 4 if kind == "NoF" else fish(rng, scene, kind)
    return photo(rng, scene), box


def build(target: Path) -> None:
    """Write SPLIT/KIND/img_N.jpg and pictures.csv: name, boat, and x, y, width, height of the box."""
    shots = [
        (s, b, kind)
        for s, (bs, n) in SPLITS.items()
        for b in bs
        for kind in n * [*KINDS, *4 * BOATS[b][2:]]
    ]
    rows = []
    for number, (split, boat, kind) in zip(
        np.random.default_rng(VERSION).permutation(len(shots)), shots, strict=True
    ):
        file = target / split / kind / f"img_{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture, box = draw(kind, boat, np.random.default_rng([VERSION, 0, number]))
        picture.save(file, quality=90)
        rows.append((file.relative_to(target).as_posix(), boat, *box))
    table = pd.DataFrame(sorted(rows), columns=["picture", "boat", "x", "y", "width", "height"])
    table.to_csv(target / "pictures.csv", index=False)
