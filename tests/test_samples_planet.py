"""The drawn satellite tiles: layout, labels that go together as in the competition, and pictures that show them."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from course_utils.data.samples import planet

LABELS = ["agriculture", "artisinal_mine", "bare_ground", "blooming", "blow_down", "clear", "cloudy"]  # Kaggle's names
LABELS += ["conventional_mine", "cultivation", "habitation", "haze", "partly_cloudy", "primary", "road"]
LABELS += ["selective_logging", "slash_burn", "water"]
WEATHER = ["clear", "cloudy", "haze", "partly_cloudy"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("planet")
    planet.build(target)
    return target


@pytest.fixture(scope="session")
def table(folder):
    return pd.read_csv(folder / "train_v2.csv")


@pytest.fixture(scope="session")
def has(table):
    """One column a label, 0 or 1."""
    return table.tags.str.get_dummies(" ")


@pytest.fixture(scope="session")
def pictures(folder, table):
    return np.stack([pixels(folder / "train-jpg" / f"{name}.jpg") for name in table.image_name])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_layout_is_that_of_the_competition(folder, table):
    expected = {f"{split}-jpg/{split}_{i}.jpg" for split, n in planet.COUNTS.items() for i in range(n)}
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == expected | {"train_v2.csv"}
    assert (folder / "train_v2.csv").read_text().startswith("image_name,tags\ntrain_0,")
    assert table.image_name.tolist() == [f"train_{i}" for i in range(planet.COUNTS["train"])]
    assert planet.COUNTS == {"train": 900, "test": 40}


def test_every_file_is_a_square_colour_jpeg_and_none_occurs_twice(folder):
    files = sorted(folder.rglob("*.jpg"))
    for path in files:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (planet.SIDE, planet.SIDE))
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files) == 940
    assert sum(path.stat().st_size for path in files) < 5e6


def test_two_builds_are_identical(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(planet, "COUNTS", {"train": 20, "test": 5})
    planet.build(tmp_path)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.jpg"))
    assert len(files) == 25
    assert all((tmp_path / file).read_bytes() == (folder / file).read_bytes() for file in files)


def test_the_17_labels_and_exactly_one_weather(has):
    assert list(has.columns) == LABELS
    assert sorted(weather.label for weather in planet.WEATHER) == WEATHER
    assert (has[WEATHER].sum(axis=1) == 1).all()


def test_labels_of_a_tile_are_sorted_and_unique(table):
    assert all(tags.split(" ") == sorted(set(tags.split(" "))) for tags in table.tags)


def test_cloudy_goes_with_nothing_and_other_tiles_have_a_ground(has):
    others = has.drop(columns=WEATHER).sum(axis=1)
    assert (others[has.cloudy == 1] == 0).all()
    assert (others[has.cloudy == 0] > 0).all()


@pytest.mark.parametrize(
    ("label", "low", "high"),
    [
        ("primary", 0.88, 0.96),  # really 0.93 (the real shares are from memory of the competition)
        ("clear", 0.65, 0.75),  # 0.70
        ("agriculture", 0.24, 0.35),  # 0.30
        ("road", 0.16, 0.24),  # 0.20
        ("water", 0.15, 0.22),  # 0.18
        ("partly_cloudy", 0.14, 0.22),  # 0.18
        ("cultivation", 0.08, 0.14),  # 0.11
        ("habitation", 0.06, 0.12),  # 0.09
        ("haze", 0.04, 0.09),  # 0.07
        ("cloudy", 0.03, 0.08),  # 0.05
    ],
)
def test_shares_are_like_the_real_ones(has, label, low, high):
    assert low < has[label].mean() < high


def test_the_rarest_are_rare_but_there(has):
    rare = has[["artisinal_mine", "blooming", "blow_down", "conventional_mine", "selective_logging", "slash_burn"]]
    assert rare.sum().between(5, 40).all()
    assert 2.6 < has.sum(axis=1).mean() < 3.1  # labels a tile; 2.9 in the competition


@pytest.mark.parametrize("label", ["road", "cultivation", "habitation", "water", "slash_burn"])
def test_what_people_do_goes_with_agriculture(has, label):
    given = has.groupby("agriculture")[label].mean()
    assert given[1] > 1.2 * given[0]


GROUND = {ground.label: ground for ground in planet.GROUND}


@pytest.mark.parametrize("label", sorted(GROUND))
def test_a_label_changes_a_part_of_the_tile(label, monkeypatch):
    """The same ground without and with it, under no sky: some pixels differ, the others by one brightness only."""
    monkeypatch.setattr(planet, "WEATHER", [planet.Weather("clear", share=1, low=-1, high=-1, clouds=0)])
    changed = []
    for seed in range(12):
        tags = [["clear", "primary"], sorted(["clear", "primary", label])]
        plain, made = (np.asarray(planet.draw(t, np.random.default_rng(seed)), float) + 1 for t in tags)
        difference = made * np.median(plain / made) - plain
        changed.append((abs(difference).max(2) > 10).mean())
    assert 0.003 < np.median(changed) < 0.5


def area(shape: dict) -> float:
    """The mean share of a tile that such a shape would cover if all of it lay on the tile and nothing overlapped."""
    size = (shape["low"] + shape["high"]) / 2
    squares = (shape["low"] ** 2 + shape["low"] * shape["high"] + shape["high"] ** 2) / 3
    if shape["kind"] == "band":
        return 2 * size
    if shape["kind"] == "blob":
        return np.pi * (squares + shape["rough"] ** 2 / 2) / 1.5  # a radius that wavers has a larger mean square
    return shape["n"] * 0.75 * (2 * size) ** 2


@pytest.mark.parametrize("label", sorted(GROUND))
def test_a_label_covers_what_its_shapes_do_in_its_colour(label, monkeypatch):
    """Masks as large as the sides in the table say; the change of a grey tile goes towards the colour."""
    ground, masks, drawn = GROUND[label], [], planet._mask
    monkeypatch.setattr(planet, "_mask", lambda *args, **kwargs: masks.append(drawn(*args, **kwargs)) or masks[-1])
    grey, changes = np.full((128, 128, 3), 100.0), []
    for seed in range(40):
        changes.append(planet._covered(np.random.default_rng(seed), grey.copy(), ground) - grey)
    assert len(masks) == 40 * len(ground.shapes)
    for i, name in enumerate(ground.shapes):
        shape = planet.SHAPES[name]
        covered = np.mean([mask.mean() for mask in masks[i :: len(ground.shapes)]])
        assert 0.4 * area(shape) < covered < 1.7 * area(shape), name
    change = np.mean(changes, axis=(0, 1, 2))
    towards = np.array(ground.colour) - 100
    assert change @ towards / np.linalg.norm(change) / np.linalg.norm(towards) > 0.95


def test_what_comes_later_in_the_table_lies_on_top(monkeypatch):
    seen = []
    monkeypatch.setattr(planet, "_covered", lambda rng, picture, ground: seen.append(ground.label) or picture)
    planet.draw(["clear", *sorted(GROUND)], np.random.default_rng(0))
    assert seen == [row["label"] for row in planet.TABLES["ground"]]
    assert seen.index("agriculture") < seen.index("water") < seen.index("road") < seen.index("habitation")


def test_but_for_what_lies_there_a_label_changes_nothing(monkeypatch):
    """To the last bit: no brightness tells of a road."""
    monkeypatch.setattr(planet, "_covered", lambda rng, picture, ground: picture)
    plain = planet.draw(["clear", "primary"], np.random.default_rng(0)).tobytes()
    assert {planet.draw(["clear", "primary", label], np.random.default_rng(0)).tobytes() for label in GROUND} == {plain}


def test_bands_and_boxes_lie_in_every_direction():
    """The slope of the coordinate along a shape, at the middle of the tile."""
    slopes = [planet.along_and_across(np.random.default_rng(seed)) for seed in range(60)]
    angle = np.array([np.arctan2(u[64, 64] - u[63, 64], u[64, 64] - u[64, 63]) for u, _ in slopes])
    assert np.histogram(angle, 4, (0, np.pi))[0].min() > 5
    for u, v in slopes[:5]:  # perpendicular, in sides of the tile
        by_x, by_y = (np.array([f[64, 64] - f[64, 63], f[64, 64] - f[63, 64]]) * 128 for f in (u, v))
        assert by_x @ by_y == pytest.approx(0, abs=1e-9)
        assert by_x @ by_x == pytest.approx(1)
        assert by_y @ by_y == pytest.approx(1)


def test_finer_octaves_are_half_as_strong_each():
    def strength(*cells):
        return np.std([planet.octaves(np.random.default_rng(seed), *cells) for seed in range(40)])

    def last(*cells):  # what the last of them adds: the numbers of the others are drawn first
        seeds = range(40)
        more = [planet.octaves(np.random.default_rng(s), *cells) for s in seeds]
        less = [planet.octaves(np.random.default_rng(s), *cells[:-1]) for s in seeds]
        return np.std(np.array(more) - less)

    assert last(8, 16) == pytest.approx(strength(16) / 2, rel=0.1)
    assert last(4, 8, 16) == pytest.approx(strength(16) / 4, rel=0.1)


def test_partly_cloudy_tiles_have_clouds_and_gaps():
    """Over black ground: white in some places, nothing in others; haze is one veil."""
    black = np.zeros((128, 128, 3))
    weather = {each.label: each for each in planet.WEATHER}

    def over(name):
        return [planet._veiled(np.random.default_rng(s), black, weather[name]).mean(2) / 215 for s in range(30)]

    partly = np.array([(np.mean(veil < 0.05), np.mean(veil > 0.5)) for veil in over("partly_cloudy")])
    assert np.median(partly, axis=0).min() > 0.05
    assert np.mean([np.ptp(veil) for veil in over("haze")]) < 0.5
    assert np.mean([np.mean(veil > 0.6) for veil in over("cloudy")]) > 0.95
    assert np.mean([np.mean(veil < 0.2) for veil in over("clear")]) > 0.9


def test_a_tile_has_the_labels_that_it_was_drawn_with(monkeypatch, tmp_path):
    """And the drawing goes on with the numbers behind those of its labels, so that no two tiles share any."""
    seen = []

    def note(tags, rng):
        seen.append((" ".join(tags), rng.random()))
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(planet, "draw", note)
    monkeypatch.setattr(planet, "COUNTS", {"train": 100, "test": 20})
    planet.build(tmp_path)
    assert pd.read_csv(tmp_path / "train_v2.csv").tags.tolist() == [tags for tags, _ in seen[:100]]
    assert len(seen) == len({number for _, number in seen}) == 120


def test_the_ground_is_darker_where_it_is_forest():
    means = [
        np.mean([np.asarray(planet.draw([*tags, "clear"], np.random.default_rng(s))).mean() for s in range(20)])
        for tags in (["primary"], [])
    ]
    assert means[0] < 0.7 * means[1]


def test_weather_hides_the_ground():
    """The same ground with more and more white over it: brighter, and with less contrast."""
    tags = ["agriculture", "primary", "road"]
    skies = ["clear", "haze", "cloudy"]
    draws = {w: [planet.draw([*tags, w], np.random.default_rng(s)) for s in range(20)] for w in skies}
    means = [np.mean([np.asarray(p).mean() for p in draws[w]]) for w in skies]
    spreads = [np.mean([np.asarray(p).std((0, 1)).mean() for p in draws[w]]) for w in skies]
    assert means == sorted(means)
    assert spreads == sorted(spreads, reverse=True)


def test_mean_colour_tells_clouds_and_haze_but_little_of_what_is_narrow(has, pictures):
    """Area under the curve, 0.5 for guessing, of a linear model on one colour a tile."""
    colour = pictures.mean((1, 2)) / 255
    train, valid = slice(0, 600), slice(600, None)

    def area(label: str) -> float:
        model = LogisticRegression(C=100).fit(colour[train], has[label][train])
        return roc_auc_score(has[label][valid], model.decision_function(colour[valid]))

    assert min(area("cloudy"), area("haze")) > 0.85
    assert max(area("road"), area("water")) < 0.75


def test_no_tile_is_nearly_another(pictures):
    grey = pictures[:, ::4, ::4].mean(3).reshape(len(pictures), -1)
    grey = grey - grey.mean(1, keepdims=True)
    grey /= np.linalg.norm(grey, axis=1, keepdims=True)
    assert (grey @ grey.T - 2 * np.eye(len(grey))).max() < 0.98
