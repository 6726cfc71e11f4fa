"""The digits of MNIST 5k as arrays: layout, determinism, every digit once and under its own label."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from course_utils.data import get_data
from course_utils.data.samples import BUILDERS, cifar10, mnist


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("mnist")
    mnist.build(target)
    return target


@pytest.fixture(scope="module")
def arrays(folder):
    with np.load(folder / "mnist.npz") as file:
        return dict(file)


def test_the_arrays_are_those_of_keras(arrays):
    shapes = {name: (a.shape, a.dtype) for name, a in arrays.items()}
    uint8 = np.dtype(np.uint8)
    assert shapes == {
        "x_train": ((4000, 28, 28), uint8),
        "y_train": ((4000,), uint8),
        "x_test": ((1000, 28, 28), uint8),
        "y_test": ((1000,), uint8),
    }


def test_each_part_has_each_digit_equally_often(arrays):
    assert np.bincount(arrays["y_train"]).tolist() == [mnist.TRAIN] * 10
    assert np.bincount(arrays["y_test"]).tolist() == [500 - mnist.TRAIN] * 10


def test_each_digit_of_the_package_occurs_once_with_its_label(arrays):
    def pairs(images, labels):
        return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))

    found = [np.concatenate([arrays[f"{a}_train"], arrays[f"{a}_test"]]) for a in "xy"]
    assert pairs(*found) == pairs(*cifar10.digits())


def test_no_picture_is_in_both_parts(arrays):
    train, test = ({image.tobytes() for image in arrays[f"x_{part}"]} for part in ("train", "test"))
    assert not train & test


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_order_tells_nothing(arrays, part):
    """Neighbours share their label as often as chance has it: one time in ten, give or take 4 standard errors."""
    y = arrays[f"y_{part}"]
    assert abs(np.mean(y[1:] == y[:-1]) - 0.1) < 4 * np.sqrt(0.09 / len(y))


def test_a_second_build_gives_the_same_bytes(folder, tmp_path):
    mnist.build(tmp_path)
    assert (tmp_path / "mnist.npz").read_bytes() == (folder / "mnist.npz").read_bytes()


def test_digits_are_upright_light_on_dark_and_recognisable(arrays):
    x = {part: arrays[f"x_{part}"].reshape(-1, 784) / 255 for part in ("train", "test")}
    assert x["train"].mean() < 0.25
    ones = arrays["x_train"][arrays["y_train"] == 1].mean(0)
    assert ones.sum(0).max() > 1.5 * ones.sum(1).max()  # upright: more ink in one column than in any row
    nearest = KNeighborsClassifier(1).fit(x["train"], arrays["y_train"])
    assert nearest.score(x["test"], arrays["y_test"]) > 0.92


def test_get_data_knows_it():
    assert BUILDERS["mnist"] == mnist.__name__
    assert sorted(p.name for p in get_data("mnist").iterdir()) == [".made", ".version", "mnist.npz"]
