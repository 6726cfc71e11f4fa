"""Stand-in for Kaggle's Planet: satellite tiles with its 17 labels, drawn here. What clouds hide keeps its label."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

__all__ = ["COUNTS", "GROUND", "SIDE", "VERSION", "WEATHER", "build", "draw", "labels"]

VERSION: int = 1
SIDE = 128  # pixels; the real tiles have 256
COUNTS = {"train": 900, "test": 40}
FARMED, PRIMARY = 0.31, 0.97  # shares of the tiles that are not cloudy
WEATHER = {
    "clear": (0.7, -0.3, 0.15, 0.06),
    "partly_cloudy": (0.18, -1, 0.25, 1.25),
}  # share; white: from, to; clouds
WEATHER |= {"haze": (0.067, 0.2, 0.55, 0.06), "cloudy": (0.053, 0.75, 1.05, 0.06)}
Y, X = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
Rng, Field = (
    np.random.Generator,
    np.ndarray,
)  # a field is float (SIDE, SIDE); a mask is one from 0 to 1


def noise(rng: Rng, *cells: int) -> Field:
    """A smooth random field around 0 with features of side 1 / cells, each half as strong as the one before."""
    grids = [Image.fromarray(rng.normal(0, 1, (n, n)).astype(np.float32)) for n in cells]
    return sum(
        np.asarray(g.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 2**i
        for i, g in enumerate(grids)
    )


def along(rng: Rng) -> tuple[Field, Field]:
    """Coordinates along and across a random direction, from a random place."""
    (x, y), a = rng.uniform(0.2, 0.8, 2), rng.random() * np.pi
    return (X - x) * np.cos(a) + (Y - y) * np.sin(a), (Y - y) * np.cos(a) - (X - x) * np.sin(a)


def inside(depth: Field) -> Field:
    return (50 * depth + 0.5).clip(0, 1)  # a mask of where depth > 0, with soft edges


def blob(rng: Rng, low: float, high: float, rough: float) -> Field:
    u, v = along(rng)
    return inside(rng.uniform(low, high) - np.hypot(u, 1.5 * v) + rough * noise(rng, 5, 11))


def band(rng: Rng, low: float, high: float, bend: float) -> Field:
    u, v = along(rng)
    curve = bend * (
        np.sin(2 * np.pi * (rng.uniform(0.5, 1.5) * u + rng.random())) + noise(rng, 4) / 3
    )
    return inside(rng.uniform(low, high) - abs(v - curve))


def boxes(rng: Rng, n: int, low: float, high: float, spread: float) -> Field:
    (u, v), k = along(rng), rng.integers((n + 1) // 2, n + 1)
    rows = np.c_[
        rng.normal(0, spread, (k, 2)), rng.uniform(low, high, (k, 2)), rng.uniform(0.5, 1, k)
    ]
    return np.max(
        [shade * inside(np.minimum(w - abs(u - x), h - abs(v - y))) for x, y, w, h, shade in rows],
        0,
    )


GROUND = {  # label: share of farmed tiles, of others (the rarest more than in reality); colour; shapes. Last on top
    "agriculture": (1, 0, (126, 132, 78), [(boxes, 5, 0.07, 0.3, 0.25)]),
    "cultivation": (0.25, 0.05, (112, 104, 66), [(boxes, 12, 0.02, 0.05, 0.16)]),
    "blooming": (0, 0.02, (206, 196, 120), [(boxes, 60, 0.006, 0.012, 0.25)]),
    "blow_down": (0, 0.02, (138, 128, 100), [(blob, 0.02, 0.12, 0.2)]),
    "selective_logging": (0.01, 0.02, (136, 104, 76), [(band, 0.004, 0.008, 0.15)] * 3),
    "slash_burn": (0.05, 0.004, (58, 46, 50), [(blob, 0.06, 0.15, 0.08)]),
    "bare_ground": (0.05, 0.015, (178, 154, 120), [(blob, 0.05, 0.2, 0.08)]),
    "water": (0.25, 0.18, (44, 60, 76), [(band, 0.015, 0.1, 0.12)]),
    "road": (0.47, 0.09, (168, 138, 106), [(band, 0.005, 0.012, 0.03)]),
    "habitation": (0.27, 0.03, (190, 180, 174), [(boxes, 50, 0.008, 0.014, 0.09)]),
    "artisinal_mine": (
        0.01,
        0.02,
        (176, 168, 136),
        [(blob, 0, 0.1, 0.2), (boxes, 20, 0.01, 0.02, 0.1)],
    ),
    "conventional_mine": (0.01, 0.015, (150, 138, 136), [(boxes, 12, 0.04, 0.1, 0.2)]),
}


def labels(rng: Rng) -> list[str]:
    """Labels of one tile, sorted: the weather and, unless it is cloudy, what lies on the ground."""
    weather, other = (
        str(rng.choice([*WEATHER], p=[s for s, *_ in WEATHER.values()])),
        rng.random() >= FARMED,
    )
    found = [name for name, shares in GROUND.items() if rng.random() < shares[other]]
    found += ["primary"] * (not found or rng.random() < PRIMARY)
    return [weather] if weather == "cloudy" else sorted([*found, weather])


def draw(tags: list[str], rng: Rng) -> Image.Image:
    """A tile with these labels."""
    picture = np.array((60, 80, 54) if "primary" in tags else (122, 124, 84)) + rng.normal(0, 6, 3)
    picture = picture + (6 * noise(rng, 3, 6) + 9 * noise(rng, 32, 64))[..., None]
    for _, _, colour, shapes in [GROUND[name] for name in GROUND if name in tags]:
        mask = (
            rng.uniform(0.4, 1)
            * np.max([shape(rng, *args) for shape, *args in shapes], 0)[..., None]
        )
        picture += mask * (
            colour + rng.normal(0, 10, 3) + 8 * noise(rng, 8, 32)[..., None] - picture
        )
    _, low, high, clouds = WEATHER[next(w for w in WEATHER if w in tags)]
    white = (rng.uniform(low, high) + clouds * noise(rng, 3, 6, 12)).clip(0, 1)[..., None]
    picture = (picture + white * (rng.normal(215, 12) - picture)) * rng.uniform(0.8, 1.2)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def build(target: Path) -> None:
    """Write train-jpg/train_N.jpg, test-jpg/test_N.jpg and train_v2.csv (image_name, tags)."""
    rows = []
    for split, i in [(split, i) for split, count in COUNTS.items() for i in range(count)]:
        rng = np.random.default_rng([split == "test", i])
        rows.append((f"{split}_{i}", " ".join(tags := labels(rng))))
        (target / f"{split}-jpg").mkdir(exist_ok=True)
        draw(tags, rng).save(target / f"{split}-jpg" / f"{split}_{i}.jpg", quality=90)
    pd.DataFrame(rows[: COUNTS["train"]]).to_csv(
        target / "train_v2.csv", index=False, header=["image_name", "tags"]
    )
