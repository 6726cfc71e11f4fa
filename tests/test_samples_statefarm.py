"""The drawn drivers: layout, postures that can be told apart, looks that cannot be confused, films of twins."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from course_utils.data.samples import statefarm

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


@pytest.mark.parametrize("posture", sorted(set(statefarm.POSTURES) - {"c0"}))
def test_a_posture_changes_a_part_of_the_picture(posture):
    """Against safe driving, the same driver: some pixels differ by much, most by little."""
    changed = []
    for driver in range(8):
        safe, other = (np.asarray(statefarm.draw(driver, p, 0), float) for p in ("c0", posture))
        ratio = np.median((safe + 1) / (other + 1))
        changed.append((abs(other * ratio - safe).max(2) > 40).mean())
    assert 0.01 < np.median(changed) < 0.3
