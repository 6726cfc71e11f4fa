"""The drawn fish: layout, boats with their sizes and mixes, boxes that hold the fish and nothing else."""

import hashlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from course_utils.data.samples import drawing, fish, species

COUNTS = {"train": 600, "valid": 240, "new_boats": 240}
BOX = ["x", "y", "width", "height"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("fish")
    fish.build(target)
    return target


@pytest.fixture(scope="session")
def table(folder):
    """pictures.csv, with split, kind and true size of each picture."""
    rows = pd.read_csv(folder / "pictures.csv")
    rows[["split", "kind", "file"]] = rows.picture.str.split("/", expand=True)
    sizes = []
    for name in rows.picture:
        with Image.open(folder / name) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            sizes.append(image.size)
    rows["size"] = sizes
    return rows


def test_the_layout_a_folder_a_kind_and_one_table(folder, table):
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {*table.picture, "pictures.csv"}
    assert list(table.columns[:6]) == ["picture", "boat", *BOX]
    assert list(table.picture) == sorted(table.picture)
    assert table.split.value_counts().to_dict() == COUNTS
    assert sorted(set(table.kind)) == list(fish.KINDS) == ["ALB", "DOL", "LAG", "NoF", "SHARK", "YFT"]
    assert sum((folder / name).stat().st_size for name in table.picture) < 20e6


def test_no_picture_occurs_twice_and_numbers_say_nothing(folder, table):
    assert len({hashlib.sha256((folder / name).read_bytes()).digest() for name in table.picture}) == 1080
    numbers = table.file.str.extract(r"img_(\d{5})\.jpg")[0].astype(int)
    assert sorted(numbers) == list(range(1080))
    assert abs(np.corrcoef(numbers, table.boat)[0, 1]) < 0.1


def test_two_builds_are_identical(tmp_path, folder, monkeypatch):
    """A build of the first pictures only: numbers change with their count, so drawings are compared."""
    monkeypatch.setattr(fish, "SPLITS", {"train": fish.Split(boats=range(2), times=1)})
    for name in "ab":
        (tmp_path / name).mkdir()
        fish.build(tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 21
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_a_boat_has_one_size_and_new_boats_have_sizes_seen_before(table):
    assert table.groupby("boat")["size"].nunique().max() == 1
    assert [*table.groupby("boat")["size"].first()] == [boat[:2] for boat in fish.BOATS]
    old, new = (set(table[table.boat.isin(boats)]["size"]) for boats in (range(6), range(6, 10)))
    assert len(old) == 6
    assert new < old
    boats = {split: sorted(set(rows.boat)) for split, rows in table.groupby("split")}
    assert boats == {"train": [*range(6)], "valid": [*range(6)], "new_boats": [6, 7, 8, 9]}


def test_half_the_catch_of_an_old_boat_is_one_kind_and_new_boats_catch_all_alike(table):
    for (split, boat), rows in table.groupby(["split", "boat"]):
        shares = rows.kind.value_counts(normalize=True).to_dict()
        if split == "new_boats":
            assert shares == pytest.approx(dict.fromkeys(fish.KINDS, 1 / 6))
        else:
            main = fish.BOATS[boat][2]
            assert shares == pytest.approx(dict.fromkeys(fish.KINDS, 0.1) | {main: 0.5})


def test_size_alone_tells_the_kind_on_the_old_boats_only(table):
    """The commonest kind of each size, by counting."""
    train = table[table.split == "train"]
    guess = train.groupby("size").kind.agg(lambda kinds: Counter(kinds).most_common(1)[0][0])
    right = table["size"].map(guess) == table.kind
    shares = right.groupby(table.split).mean().to_dict()
    assert shares == pytest.approx({"train": 0.5, "valid": 0.5, "new_boats": 1 / 6})
    assert train.kind.value_counts(normalize=True).max() == pytest.approx(0.7 / 3)  # ALB, on two boats of six


def test_boxes_lie_inside_the_pictures_and_nof_has_none(table):
    width, height = np.array([*table["size"]]).T
    assert ((table.x >= 0) & (table.x + table.width <= width)).all()
    assert ((table.y >= 0) & (table.y + table.height <= height)).all()
    none = table.kind == "NoF"
    assert (table[none][BOX] == 0).all(axis=None)
    assert (table[~none][["width", "height"]] >= 10).all(axis=None)
    share = (table.width * table.height / (width * height))[~none]
    assert 0.05 < share.mean() < 0.15


@pytest.mark.parametrize("kind", sorted(species.SPECIES))
def test_the_box_holds_all_that_the_fish_changes(kind, monkeypatch):
    """The same deck without and with the fish, without what the camera adds: pixels that differ fill the box.

    Edges are soft: half covered at the box, and faint up to a few pixels beyond it.
    """
    monkeypatch.setattr(fish, "photo", lambda rng, scene: scene)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        plain = fish.cluttered(rng, fish.deck(1), rng.integers(1, 5), 0.02, 0.1)
        scene, (x, y, width, height) = fish.draw(kind, 1, np.random.default_rng(seed))
        rows, columns = np.nonzero(abs(scene - plain).max(2) > 0.02)
        beyond = [x - columns.min(), y - rows.min(), columns.max() + 1 - x - width, rows.max() + 1 - y - height]
        assert min(beyond) >= -2
        assert max(beyond) <= 4


def test_kinds_differ_in_colour():
    """Mean colour of what a fish of each kind covers, without light and noise: no two kinds are near."""
    means = []
    for colours in (each.colours for each in species.SPECIES.values()):
        means.append(drawing.palette(colours.back + colours.belly + colours.fins).ravel())
    apart = np.linalg.norm(np.array(means)[:, None] - means, axis=2) + 9 * np.eye(5)
    assert apart.min() > 0.15


def test_the_deck_of_a_boat_is_always_the_same_and_not_that_of_another():
    before = [fish.deck(boat).copy() for boat in range(10)]
    for boat in range(10):
        fish.draw("ALB", boat, np.random.default_rng(boat))
        assert np.array_equal(fish.deck(boat), before[boat])
    twins = [(0, 6), (2, 7), (3, 8), (5, 9)]  # boats with pictures of one size
    assert min(abs(before[a] - before[b]).mean() for a, b in twins) > 0.05
