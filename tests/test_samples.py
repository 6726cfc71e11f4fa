"""The drawn cats and dogs: layout, determinism, and no clue but the animals themselves."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_utils.data.samples import dogscats

# On 200 pictures a fair coin stays below 0.58 in 98 sets of 100; the pictures never change.
CHANCE = 0.58


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("dogscats")
    dogscats.build(target)
    return target


@pytest.fixture(scope="session")
def pictures(folder):
    """Path -> decoded picture, of every labelled file."""
    return {path: decoded(path) for path in sorted(folder.glob("*/*s/*.jpg"))}


def decoded(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def accuracy(model, pictures, features):
    """Accuracy on valid of a model trained on train, with features(path, picture) as its input."""
    x = np.array([features(path, picture) for path, picture in pictures.items()], dtype=float)
    dog = np.array([path.parent.name == "dogs" for path in pictures])
    train = np.array([path.parts[-3] == "train" for path in pictures])
    return model.fit(x[train], dog[train]).score(x[~train], dog[~train])


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))


def test_the_layout_is_that_of_the_competition(folder):
    count = dogscats.COUNTS
    expected = {
        f"{split}/{kind}s/{kind}.{i}.jpg" for split in count for kind in ("cat", "dog") for i in range(count[split])
    } | {f"test1/{i}.jpg" for i in range(1, dogscats.TEST_COUNT + 1)}
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == expected
    assert count == {"train": 200, "valid": 100}
    assert dogscats.TEST_COUNT == 20


def test_every_file_is_a_small_colour_jpeg_of_either_orientation(folder):
    found = [decoded(path) for path in sorted(folder.rglob("*.jpg"))]
    assert {(image.format, image.mode) for image in found} == {("JPEG", "RGB")}
    assert all(112 <= min(image.size) <= 160 and max(image.size) < 260 for image in found)
    wide = np.mean([image.width > image.height for image in found])
    assert 0.4 < wide < 0.6
    assert sum(path.stat().st_size for path in folder.rglob("*.jpg")) < 6e6


def test_a_second_drawing_gives_the_bytes_of_the_first_in_any_order(folder):
    chosen = [("valid", "dog", 99), ("train", "dog", 7), ("valid", "cat", 0), ("train", "cat", 7)]
    for split, kind, i in chosen:
        path = folder / split / f"{kind}s" / f"{kind}.{i}.jpg"
        assert jpeg(dogscats.draw(split, kind, i)) == path.read_bytes()


def test_two_builds_are_identical(tmp_path, monkeypatch):
    monkeypatch.setattr(dogscats, "COUNTS", {"train": 3, "valid": 2})
    monkeypatch.setattr(dogscats, "TEST_COUNT", 4)
    for name in ("first", "second"):
        dogscats.build(tmp_path / name)
    first, second = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.jpg")}
        for name in ("first", "second")
    )
    assert len(first) == 2 * (3 + 2) + 4
    assert first == second


def test_no_picture_occurs_twice(folder):
    paths = sorted(folder.rglob("*.jpg"))
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == len(paths)


def test_no_picture_is_nearly_another(pictures):
    tiny = np.array([np.asarray(p.convert("L").resize((16, 16))).ravel() for p in pictures.values()])
    tiny = tiny.astype(float) - tiny.mean(axis=1, keepdims=True)
    tiny /= np.linalg.norm(tiny, axis=1, keepdims=True)
    likeness = tiny @ tiny.T - 2 * np.eye(len(tiny))
    assert likeness.max() < 0.98


def test_size_shape_and_bytes_of_a_file_tell_nothing(pictures):
    def of_file(path, picture):
        size = path.stat().st_size
        return (*picture.size, size, picture.width / picture.height, size / np.prod(picture.size))

    forest = RandomForestClassifier(300, min_samples_leaf=5, random_state=0)
    assert accuracy(linear(), pictures, of_file) < CHANCE
    assert accuracy(forest, pictures, of_file) < CHANCE


def test_colour_alone_tells_nothing(pictures):
    def mean(path, picture):
        return np.asarray(picture).mean(axis=(0, 1))

    def spread(path, picture):
        return [*mean(path, picture), *np.asarray(picture).std(axis=(0, 1))]

    assert accuracy(linear(), pictures, mean) < CHANCE
    assert accuracy(linear(), pictures, spread) < CHANCE


def test_a_thumbnail_tells_little(pictures):
    def thumbnail(path, picture):
        return np.asarray(picture.resize((16, 16))).ravel() / 255

    assert accuracy(linear(), pictures, thumbnail) < 0.62


def test_the_no_leak_checks_can_fail(pictures):
    """A planted leak, brighter dogs, is found at once."""

    def leaking(path, picture):
        return np.asarray(picture).mean(axis=(0, 1)) + 200 * (path.parent.name == "dogs")

    assert accuracy(linear(), pictures, leaking) > 0.95
