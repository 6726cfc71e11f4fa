"""The drawn drivers: layout, postures that can be told apart, looks that cannot be confused, films of twins."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from course_utils.data.samples import bodies, drivers, statefarm

COUNT = statefarm.DRIVERS * 10 * statefarm.FRAMES


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("statefarm")
    statefarm.build(target)
    return target


@pytest.fixture(scope="session")
def table(folder):
    return pd.read_csv(folder / "driver_imgs_list.csv")


@pytest.fixture(scope="session")
def pictures(folder, table):
    return np.stack([pixels(folder / "train" / c / f) for c, f in zip(table.classname, table.img, strict=True)])


@pytest.fixture(scope="session")
def coarse(pictures):
    """Each picture as 20 x 27 x 3 numbers in 0..1."""
    return pictures[:, ::3, ::3].reshape(len(pictures), -1) / np.float32(255)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_layout_is_that_of_the_competition(folder, table):
    listed = {f"train/{c}/{f}" for c, f in zip(table.classname, table.img, strict=True)}
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    test = {name for name in found if name.startswith("test/img_")}
    assert found == listed | test | {"driver_imgs_list.csv"}
    assert len(test) == statefarm.TEST * 10 * 2
    assert (folder / "driver_imgs_list.csv").read_text().startswith("subject,classname,img\np000,c0,img_")
    assert list(statefarm.POSTURES) == sorted(p.name for p in (folder / "train").iterdir())
    assert len(table) == len(listed) == COUNT


def test_every_driver_takes_every_posture_equally_often(table):
    assert (table.groupby(["subject", "classname"]).size() == statefarm.FRAMES).all()
    assert table.subject.nunique() == 26
    assert table.classname.nunique() == 10


def test_every_file_is_a_small_colour_jpeg_and_none_occurs_twice(folder):
    files = sorted(folder.rglob("*.jpg"))
    for path in files:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", statefarm.SIZE)
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files) == COUNT + 80
    assert sum(path.stat().st_size for path in files) < 6e6


def test_a_second_drawing_gives_the_same_pixels_in_any_order():
    chosen = [(25, "c9", 5), (0, "c0", 0), (25, "c1", 3), (0, "c6", 1)]
    first = [np.asarray(statefarm.draw(*at)) for at in chosen]
    statefarm.look.cache_clear()
    again = [np.asarray(statefarm.draw(*at)) for at in chosen[::-1]][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_two_builds_are_identical(tmp_path, monkeypatch):
    for name, value in {"DRIVERS": 2, "FRAMES": 2, "TEST": 1}.items():
        monkeypatch.setattr(statefarm, name, value)
    for name in ("first", "second"):
        statefarm.build(tmp_path / name)
    first, second = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("first", "second")
    )
    assert len(first) == 2 * 10 * 2 + 1 * 10 * 2 + 1
    assert first == second


def test_an_unknown_posture_is_refused():
    with pytest.raises(ValueError, match="c10"):
        statefarm.draw(0, "c10", 0)


def test_number_and_size_of_a_file_tell_nothing(folder, table):
    """A number tells neither posture nor driver, so that a listing in order of names is a shuffled one."""
    number = table.img.str.extract(r"(\d+)")[0].astype(int)
    shares = number.groupby(table.classname).mean() / (COUNT + 80)
    assert shares.between(0.4, 0.6).all()
    assert abs(np.corrcoef(number, table.subject.str[1:].astype(int))[0, 1]) < 0.1


def test_frames_of_a_film_are_twins_and_films_are_not(table, coarse):
    """The nearest picture is of the same film nearly always: that is the leak."""
    film = (table.subject + table.classname).to_numpy()
    nearest = KNeighborsClassifier(1).fit(coarse, film).kneighbors(n_neighbors=1, return_distance=False)[:, 0]
    assert (film[nearest] == film).mean() > 0.9


def test_a_driver_is_recognised_by_one_colour(table, pictures):
    """The mean colour of the picture: enough to tell 26 drivers apart far better than by chance."""
    colour = pictures.mean((1, 2))
    assert cross_val_score(KNeighborsClassifier(3), colour, table.subject, cv=5).mean() > 0.5


def test_the_mean_colour_tells_little_of_the_posture(table, pictures):
    colour = pictures.mean((1, 2))
    by_driver = cross_val_score(
        KNeighborsClassifier(5), colour, table.classname, groups=table.subject, cv=GroupKFold(5)
    )
    assert by_driver.mean() < 0.2


def test_a_split_by_picture_lies(table, coarse):
    """Looking up the nearest picture: right nearly always on known drivers, hardly better than chance on others."""
    model = KNeighborsClassifier(1)
    by_picture = cross_val_score(model, coarse, table.classname, cv=KFold(5, shuffle=True, random_state=0)).mean()
    by_driver = cross_val_score(model, coarse, table.classname, groups=table.subject, cv=GroupKFold(5)).mean()
    assert by_picture > 0.9
    assert 0.05 < by_driver < 0.35


def test_postures_can_be_learned_from_other_drivers(table, coarse):
    model = RidgeClassifier(alpha=1000)
    assert cross_val_score(model, coarse, table.classname, groups=table.subject, cv=GroupKFold(5)).mean() > 0.2


# Bodies, in radii of a head

STILL = drivers.Shifts(*np.zeros((4, 3)))
NAMES = sorted(drivers.POSTURES)


def person(name: str, shifts=STILL, forearm=drivers.Paint.SKIN) -> list:
    return drivers.person(drivers.POSTURES[name], shifts, forearm, 0.9)


def arms(limbs) -> dict[str, np.ndarray]:
    """Where the hand at the end of each arm is: the right shoulder is the one near the camera."""
    found = {}
    for upper, forearm, hand in zip(limbs, limbs[1:], limbs[2:], strict=False):
        if upper.paint == drivers.Paint.SHIRT and upper.balls[0, 3] == 0.62:
            np.testing.assert_array_equal(upper.balls[1, :3], forearm.balls[0, :3])  # the elbow
            np.testing.assert_array_equal(forearm.balls[1, :3], hand.balls[0, :3])
            found["right" if upper.balls[0, 2] > 0 else "left"] = hand.balls[0, :3]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_hands_are_where_the_posture_has_them(name):
    hands = arms(person(name))
    np.testing.assert_allclose(hands["right"], drivers.POSTURES[name].right)
    np.testing.assert_allclose(hands["left"], drivers.POSTURES[name].left)


def test_postures_are_what_they_are_called():
    """Of the competition's classes those that one can tell by the distances of the hands from head and wheel."""

    def away(name, side):
        return np.linalg.norm(arms(person(name))[side])

    assert max(away("c2", "right"), away("c4", "left"), away("c8", "right")) < 2  # phones and hair at the head
    assert min(away(name, "left") for name in NAMES if name not in ("c3", "c4")) > 5  # on the wheel
    assert arms(person("c7"))["right"][0] < -2  # reaching behind
    assert arms(person("c5"))["right"][1] > 5  # the radio is low
    assert [name for name in NAMES if drivers.POSTURES[name].turn > 60] == ["c7", "c9"]
    held = {name: drivers.POSTURES[name].holds for name in NAMES if drivers.POSTURES[name].holds}
    assert held == {"c1": "right", "c2": "right", "c3": "left", "c4": "left", "c6": "right"}  # phones and a drink


@pytest.mark.parametrize("name", NAMES)
def test_what_is_held_is_in_the_hand_that_holds_it(name):
    limbs = person(name)
    things = [limb for limb in limbs if limb.paint == drivers.Paint.THING]
    if drivers.POSTURES[name].holds is None:
        assert things == []
    else:
        [thing] = things
        hands = {side: np.linalg.norm(thing.balls[:, :3].mean(0) - hand) for side, hand in arms(limbs).items()}
        assert min(hands, key=hands.get) == drivers.POSTURES[name].holds
        assert min(hands.values()) < 0.8


@pytest.mark.parametrize("name", NAMES)
def test_the_head_turns_to_the_camera_as_far_as_the_posture_says(name):
    """The nose points ahead at 0 degrees, to the camera at 90."""
    skull, nose = person(name)[:2]
    x, _, z = nose.balls[0, :3] - skull.balls[0, :3]
    assert np.degrees(np.arctan2(z, x)) == pytest.approx(drivers.POSTURES[name].turn, abs=1e-6)


def test_films_and_frames_move_hands_head_and_thing():
    shifts = drivers.Shifts(*np.eye(4, 3) * 0.4)
    calm, moved = person("c1"), person("c1", shifts)
    assert [a.paint for a in calm] == [a.paint for a in moved]
    changed = [drivers.Paint(a.paint).name for a, b in zip(calm, moved, strict=True) if (a.balls != b.balls).any()]
    assert Counter(changed) == {"SKIN": 6, "HAIR": 1, "THING": 1, "SHIRT": 2}  # head, nose, hair; two arms; thing
    hands = arms(moved)
    np.testing.assert_allclose(hands["right"] - drivers.POSTURES["c1"].right, (0.4, 0, 0), atol=1e-9)
    np.testing.assert_allclose(hands["left"] - drivers.POSTURES["c1"].left, (0, 0.4, 0), atol=1e-9)


def test_forearms_are_bare_or_in_sleeves():
    paints = {
        fore: [limb.paint for limb in person("c0", forearm=fore)] for fore in (drivers.Paint.SKIN, drivers.Paint.SLEEVE)
    }
    assert [paint.count(drivers.Paint.SLEEVE) for paint in paints.values()] == [0, 2]
    assert {statefarm.look(driver).forearm for driver in range(12)} == set(paints)


# Pictures


def test_what_is_nearer_to_the_camera_is_seen():
    depth = np.array([[1.0, 5.0, -np.inf, -np.inf]])
    other = np.array([[2.0, 3.0, 4.0, -np.inf]])
    one = bodies.Surface(depth, np.full((1, 4), 1.0), np.full((1, 4), 1))
    seen = statefarm.nearer(one, bodies.Surface(other, np.full((1, 4), 2.0), np.full((1, 4), 2)))
    assert seen.depth.tolist() == [[2, 5, 4, -np.inf]]
    assert seen.paint.tolist() == [[2, 1, 2, 2]]
    assert seen.shade[0, :3].tolist() == [2, 1, 2]


def test_looks_differ_in_all_that_they_consist_of():
    looks = [statefarm.look(driver) for driver in range(12)]
    for name in ("hair", "build", "paints", "stripes", "tint", "window", "walls", "outside"):
        assert len({np.asarray(getattr(look, name)).tobytes() for look in looks}) > 3, name
    for name in ("unit", "turn", "middle", "light"):
        assert len({np.asarray(getattr(look.camera, name)).tobytes() for look in looks}) == 12, name
    striped = np.mean([np.ptp(look.stripes) > 0 for look in looks])
    assert 0.2 < striped < 0.8
    windows = [look.window.mean() for look in looks]
    assert 0.01 < min(windows) < max(windows) < 0.5
    assert np.mean([look.outside.mean() for look in looks]) > 2 * np.mean([look.walls.mean() for look in looks])


@pytest.fixture
def redraw(monkeypatch):
    """redraw(**changes): pixels of driver 1, safe, in another look."""
    usual = statefarm.look(1)

    def draw(**changes) -> np.ndarray:
        monkeypatch.setattr(statefarm, "look", lambda _: dataclasses.replace(usual, **changes))
        return np.asarray(statefarm.draw(1, "c0", 0), float)

    return draw


def test_every_part_of_a_look_is_seen(redraw):
    look = statefarm.look(1)
    plain = redraw()
    bright = {"window": look.window * 0 == 1, "outside": look.outside * 0, "walls": look.walls * 0 + 1}
    bright |= {
        "stripes": look.stripes * 0 + 0.2,
        "tint": look.tint * 0.5,
        "hair": 1.4,
        "paints": look.paints[::-1].copy(),
    }
    bright |= {"car": bodies.Surface(np.full_like(look.car.depth, -np.inf), look.car.shade, look.car.paint)}
    bright |= {"camera": look.camera._replace(light=look.camera.light * (-1, 1, 1)), "build": look.build * 1.2}
    bright |= {"forearm": drivers.Paint.HAIR}
    for name, value in bright.items():
        assert (abs(redraw(**{name: value}) - plain).max(2) > 15).mean() > 0.003, name


def test_but_for_the_body_no_posture_changes_a_picture(monkeypatch):
    """From one seed, with one body: the same to the last bit, so that no exposure tells of a posture."""
    statefarm.look(3)
    monkeypatch.setattr(np.random, "default_rng", lambda _: np.random.Generator(np.random.PCG64(0)))
    safe = person("c0")
    monkeypatch.setattr(statefarm, "person", lambda *args: safe)
    assert len({statefarm.draw(3, name, 0).tobytes() for name in NAMES}) == 1


def test_each_file_is_the_drawing_that_its_name_says(monkeypatch, tmp_path):
    """`draw` put down as a picture of one pixel: driver, posture and frame as its colour."""

    def note(driver, posture, frame):
        return Image.new("RGB", (8, 8), (8 * driver, 25 * int(posture[1]), 40 * frame))

    for name, value in {"draw": note, "DRIVERS": 6, "FRAMES": 3, "TEST": 2}.items():
        monkeypatch.setattr(statefarm, name, value)
    statefarm.build(tmp_path)
    table = pd.read_csv(tmp_path / "driver_imgs_list.csv")
    colours = [pixels(tmp_path / "train" / c / f)[4, 4] for c, f in zip(table.classname, table.img, strict=True)]
    driver, posture, _ = np.round(np.array(colours) / (8, 25, 40)).astype(int).T
    assert (driver == table.subject.str[1:].astype(int)).all()
    assert (posture == table.classname.str[1:].astype(int)).all()
    hidden = np.array([pixels(path)[4, 4] for path in (tmp_path / "test").iterdir()])
    assert set(np.round(hidden[:, 0] / 8)) == {6, 7}  # none of those in training


@pytest.mark.parametrize("posture", sorted(set(statefarm.POSTURES) - {"c0"}))
def test_a_posture_changes_a_part_of_the_picture(posture):
    """Against safe driving, the same driver: some pixels differ by much, most by little."""
    changed = []
    for driver in range(8):
        safe, other = (np.asarray(statefarm.draw(driver, p, 0), float) for p in ("c0", posture))
        ratio = np.median((safe + 1) / (other + 1))
        changed.append((abs(other * ratio - safe).max(2) > 40).mean())
    assert 0.01 < np.median(changed) < 0.3
