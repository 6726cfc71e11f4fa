"""The drawn cats and dogs, with no clue but the animals themselves, and the coloured digits: layout, determinism."""

import hashlib
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_utils.data.samples import cifar10, dogscats

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


# Coloured digits instead of CIFAR-10


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("cifar10")
    cifar10.build(target)
    return target


def pixels(path: Path) -> np.ndarray:
    return np.asarray(decoded(path))


def test_the_digits_lie_in_folders_as_cifar10_does(digit_folder):
    expected = {
        f"{split}/{digit}/{i:03}.png" for split, n in cifar10.COUNTS.items() for digit in range(10) for i in range(n)
    }
    files = sorted(p for p in digit_folder.rglob("*") if p.is_file())
    assert {p.relative_to(digit_folder).as_posix() for p in files} == expected
    assert len(expected) == 3_300
    assert {(p.format, p.mode, p.size) for p in map(decoded, files)} == {("PNG", "RGB", (32, 32))}
    assert len({hashlib.sha256(pixels(p).tobytes()).digest() for p in files}) == len(files)


def test_a_second_build_of_the_digits_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 20, "test": 10})
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        cifar10.build(folder)
    first, second = ({p.relative_to(d): p.read_bytes() for p in d.rglob("*.png")} for d in folders)
    assert len(first) == 300
    assert first == second


def test_each_digit_is_used_once_and_under_its_own_label(tmp_path, monkeypatch):
    """Built with a `coloured` that leaves the digit as it is."""
    monkeypatch.setattr(cifar10, "coloured", lambda digit, rng: np.repeat(digit[..., None], 3, axis=2))
    cifar10.build(tmp_path)
    images, labels = cifar10.digits()
    label = dict(zip([image.tobytes() for image in images], labels, strict=True))
    found = {p: pixels(p)[..., 0].tobytes() for p in tmp_path.rglob("*.png")}
    assert all(label[digit] == int(p.parent.name) for p, digit in found.items())
    assert len(set(found.values())) == len(found) == 3_300


def windows(picture: np.ndarray) -> np.ndarray:
    """(25, 784): the places of a (32, 32) picture where a digit can lie, each with mean 0 and length 1."""
    cut = np.lib.stride_tricks.sliding_window_view(picture.astype(float), (28, 28)).reshape(25, -1)
    cut = cut - cut.mean(1, keepdims=True)
    return cut / np.linalg.norm(cut, axis=1, keepdims=True)


def test_the_picture_looks_most_like_a_digit_of_its_label(digit_folder):
    """Of all 5,000 digits at all places, the nearest to the brightness of a picture has its label, nearly always."""
    images, labels = cifar10.digits()
    flat = images.reshape(len(images), -1) - images.mean((1, 2))[:, None]
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    files = sorted(digit_folder.glob("test/*/00[0-1].png"))
    nearest = [labels[(flat @ windows(pixels(p).mean(2)).T).max(1).argmax()] for p in files]
    right = np.mean([d == int(p.parent.name) for d, p in zip(nearest, files, strict=True)])
    assert len(files) == 20
    assert right > 0.9


def test_ink_lies_where_the_digit_is_and_ground_elsewhere(monkeypatch):
    """With plain colours and no noise the mask can be read off the picture; every shift by up to 2 pixels occurs."""
    monkeypatch.setattr(cifar10, "NOISE", 0)
    colour = {cifar10.GROUND: np.array([0.2, 0.1, 0.4]), cifar10.INK: np.array([0.6, 0.9, 0.7])}
    monkeypatch.setattr(cifar10, "texture", lambda rng, colours: np.tile(colour[colours], (32, 32, 1)))
    digit = np.zeros((28, 28), np.uint8)
    digit[3:20, 5:9], digit[20:25, 9:12] = 255, 102  # 102 is 0.4 of the way to the ink
    rng, shifts = np.random.default_rng(0), set()
    for _ in range(300):
        picture = cifar10.coloured(digit, rng)
        dy, dx = (int(np.argmax((picture != picture[0, 0]).any(2).any(axis))) for axis in (1, 0))
        shifts.add((dy - 3, dx - 5))
        mask = np.zeros((32, 32, 1))
        mask[dy - 3 : dy + 25, dx - 5 : dx + 23, 0] = digit / 255
        expected = 255 * (mask * colour[cifar10.INK] + (1 - mask) * colour[cifar10.GROUND])
        np.testing.assert_allclose(picture, expected, atol=0.51)
    assert shifts == {(y, x) for y in range(5) for x in range(5)}


def test_ink_is_brighter_than_its_ground_and_both_are_colours(monkeypatch):
    """The first texture drawn is the ground, the last one the ink that was taken."""
    texture, drawn = cifar10.texture, []
    monkeypatch.setattr(cifar10, "texture", lambda *args: drawn.append(texture(*args)) or drawn[-1])
    pairs, rng = [], np.random.default_rng(0)
    for _ in range(200):
        drawn.clear()
        cifar10.coloured(np.zeros((28, 28), np.uint8), rng)
        pairs.append((drawn[0], drawn[-1]))
    ground, ink = np.moveaxis(pairs, 1, 0)
    assert np.min(pairs) >= 0
    assert np.max(pairs) <= 1
    assert (ink - ground).mean((1, 2, 3)).min() >= cifar10.CONTRAST
    assert ground.mean((1, 2)).max() > ink.mean((1, 2)).min()  # no threshold for one channel parts them
    of_one = np.concatenate([ground, ink]).mean((1, 2))  # (400, 3)
    assert of_one.std(1).mean() > 0.08  # colours, not greys
    assert np.ptp(of_one) > 0.8


def test_textures_are_clouds_or_stripes(monkeypatch):
    """Both occur; stripes change in one direction only, clouds smoothly in all."""
    seen = Counter()
    for name in ("_clouds", "_stripes"):
        drawn = getattr(cifar10, name)
        monkeypatch.setattr(cifar10, name, lambda rng, name=name, drawn=drawn: seen.update([name]) or drawn(rng))
    for seed in range(100):
        texture = cifar10.texture(np.random.default_rng(seed), (0, 1))
        assert texture.std((0, 1)).max() > 0.005
    assert min(seen["_clouds"], seen["_stripes"]) > 35
    for seed in range(10):
        share = cifar10._stripes(np.random.default_rng(seed))
        down, right = (slope[1:-1, 1:-1] for slope in np.gradient(share))
        strong = np.hypot(down, right) > 0.03
        direction = np.arctan2(down[strong], right[strong]) % np.pi  # one, but for the sign
        assert abs(np.exp(2j * direction).mean()) > 0.9
        assert share.min() >= 0
        assert share.max() <= 1
        cloud = cifar10._clouds(np.random.default_rng(seed))
        assert cloud.shape == share.shape == (32, 32)
        assert abs(np.diff(cloud, axis=0)).max() < 0.35  # smooth


def test_every_pixel_and_channel_is_noisy(monkeypatch):
    """Of plain colours, none of them near black or white, the noise is what is left."""
    colour = {cifar10.GROUND: 0.4, cifar10.INK: 0.65}
    monkeypatch.setattr(cifar10, "texture", lambda rng, colours: np.full((32, 32, 3), colour[colours]))
    blank = np.zeros((28, 28), np.uint8)
    pictures = np.array([cifar10.coloured(blank, np.random.default_rng(seed)) for seed in range(20)]) / 255
    assert pictures.mean() == pytest.approx(0.4, abs=0.005)
    assert pictures.std() == pytest.approx(0.12, rel=0.03)
    red, green = pictures[..., 0].ravel(), pictures[..., 1].ravel()
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.05
