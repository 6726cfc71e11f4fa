"""The drawn fish: layout, boats with their sizes and mixes, boxes that hold the fish and nothing else."""

import dataclasses
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


# A fish by itself, on a grid of its own coordinates


@pytest.fixture
def whole():
    """u and v from -1.5 to 1.5 on 301 x 301 pixels: a fish in the middle, its nose to the right."""
    v, u = (axis.astype(np.float32) for axis in np.mgrid[-1.5:1.5:301j, -1.5:1.5:301j])
    return species.Place(u, v, np.float32(1))


def at(field, u: float, v: float):
    """The value at a place of that grid."""
    return field[round((v + 1.5) * 100), round((u + 1.5) * 100)]


@pytest.mark.parametrize("kind", sorted(species.SPECIES))
def test_a_fish_has_the_body_and_the_fins_of_its_table(kind, whole):
    """Read off the outline: the fins where they are highest, the tail fin with its notch."""
    fins = species.SPECIES[kind].fins
    half = species._half_height(np.random.default_rng(0), species.SPECIES[kind].body, whole.u)
    inside = species._depth(whole, half, fins) > 0
    assert species.SPECIES[kind].body.height == pytest.approx(half.max(), rel=0.4)
    column = inside[:, round((fins.place + 1.5) * 100)]
    body = at(half, fins.place, 0)
    above, below = column[:150].sum() / 100, column[151:].sum() / 100
    assert above == pytest.approx(body + fins.rise, abs=0.02)
    assert below == pytest.approx(body + fins.rise * fins.below, abs=0.02)
    assert at(inside, -1.15, 0.25)
    assert at(inside, -1.15, -0.25)  # the tips of the tail
    assert not at(inside, -1.25, 0)  # between them
    assert at(inside, 0.97, 0) or at(inside, 0.9, 0)  # the nose
    assert not inside[:, 252:].any()
    assert not at(inside, -0.6, 0.5)


@pytest.mark.parametrize("kind", sorted(species.SPECIES))
def test_a_fish_has_the_colours_of_its_table(kind, whole):
    """Back above, belly below, fins beyond the body, marks on those that have any; the light aside."""
    chosen = species.SPECIES[kind]
    names = ("back", "belly", "fins", "marks")
    colours = np.vstack([drawing.palette(getattr(chosen.colours, name)) for name in names])
    back, belly, fin, _ = colours
    half = species._half_height(np.random.default_rng(0), chosen.body, whole.u)

    def skin(marks):
        bare = dataclasses.replace(chosen, marks=marks)
        return species._skin(np.random.default_rng(1), whole, half, colours, bare)

    plain, usual = skin(0), skin(chosen.marks)

    def hue(colour):
        return colour / np.linalg.norm(colour)

    height = at(half, 0.1, 0)
    np.testing.assert_allclose(hue(at(plain, 0.7, -0.8 * at(half, 0.7, 0))), hue(back), atol=0.02)
    np.testing.assert_allclose(hue(at(plain, 0.7, 0.8 * at(half, 0.7, 0))), hue(belly), atol=0.02)
    np.testing.assert_allclose(at(plain, 0.1, -height - 0.05), fin, atol=1e-5)
    np.testing.assert_allclose(at(plain, -1.1, 0.1), fin, atol=1e-5)
    breast = 0.5 - chosen.fins.breast / 2
    np.testing.assert_allclose(at(plain, breast, 0.04 + 0.05 * breast), fin, atol=1e-5)
    marked = (abs(usual - plain) > 0.02).any(2)[at(half, 0, 0) > abs(whole.v)].mean()
    assert (0.03 < marked < 0.5) if chosen.marks else marked == 0


def test_the_colours_of_one_fish_are_nearly_those_of_its_kind():
    usual = drawing.palette("".join(dataclasses.astuple(species.SPECIES["DOL"].colours)))
    made = np.array([species._tinted(np.random.default_rng(s), species.SPECIES["DOL"].colours) for s in range(200)])
    np.testing.assert_allclose(made.mean(0), usual, atol=0.02)
    light = (made / usual).mean((1, 2))
    assert 0.05 < light.std() < 0.15


def test_a_tall_fish_is_shorter():
    scene = fish.deck(0)
    tall, slim = (species._place(np.random.default_rng(3), scene, species.SPECIES[k]).length for k in ("LAG", "ALB"))
    assert 0.8 * slim < tall < 0.95 * slim


def test_each_kind_is_drawn_as_itself_and_nothing_else_in_the_picture_knows_it(monkeypatch):
    """From one seed: all decks and all clutter are alike; where the fish lies, each kind is another."""
    monkeypatch.setattr(fish, "photo", lambda rng, scene: scene)
    plain, nothing = fish.draw("NoF", 2, np.random.default_rng(5))
    assert nothing == (0, 0, 0, 0)
    scenes = []
    for kind in species.SPECIES:
        scene, (x, y, width, height) = fish.draw(kind, 2, np.random.default_rng(5))
        rest = np.ones(scene.shape[:2], bool)
        rest[max(0, y - 4) : y + height + 4, max(0, x - 4) : x + width + 4] = False
        assert (scene[rest] == plain[rest]).all()
        scenes.append(scene)
    assert len({scene.tobytes() for scene in scenes}) == len(species.SPECIES)


def test_pictures_come_from_a_camera(monkeypatch):
    monkeypatch.setattr(fish, "photo", lambda rng, scene: ("taken", scene.shape))
    assert fish.draw("YFT", 2, np.random.default_rng(0))[0] == ("taken", (195, 256, 3))


def test_each_file_is_the_drawing_that_its_name_says(monkeypatch, tmp_path):
    """`draw` put down as a picture of one pixel: kind and boat as its colour."""
    monkeypatch.setattr(fish, "SPLITS", {"valid": fish.Split(range(6), 1), "new_boats": fish.Split(range(6, 10), 1)})

    def note(kind, boat, rng):
        return Image.new("RGB", (8, 8), (40 * fish.KINDS.index(kind), 20 * boat, 0)), (
            boat,
            2,
            3,
            fish.KINDS.index(kind),
        )

    monkeypatch.setattr(fish, "draw", note)
    fish.build(tmp_path)
    rows = pd.read_csv(tmp_path / "pictures.csv")
    assert len(rows) == 6 * 10 + 4 * 6
    for name, boat, x, _, _, height in rows.itertuples(index=False):
        with Image.open(tmp_path / name) as image:
            kind, drawn_boat, _ = image.getpixel((4, 4))
        number = fish.KINDS.index(name.split("/")[1])
        assert abs(kind - 40 * number) < 10
        assert abs(drawn_boat - 20 * boat) < 10
        assert (x, height) == (boat, number)


# Boats


def test_the_deck_of_a_boat_is_always_the_same_and_not_that_of_another():
    before = [fish.deck(boat).copy() for boat in range(10)]
    for boat in range(10):
        fish.draw("ALB", boat, np.random.default_rng(boat))
        assert np.array_equal(fish.deck(boat), before[boat])
    twins = [(0, 6), (2, 7), (3, 8), (5, 9)]  # boats with pictures of one size
    assert min(abs(before[a] - before[b]).mean() for a, b in twins) > 0.05
