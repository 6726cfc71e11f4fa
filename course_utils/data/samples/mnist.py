"""Handwritten digits: 5,000 of the 70,000 of MNIST, as arrays under the names that Keras uses."""

from pathlib import Path

import numpy as np

from course_utils.data.samples.cifar10 import digits

__all__ = ["TRAIN", "VERSION", "build"]

VERSION: int = 1
TRAIN = 400  # of the 500 pictures of each digit


def build(target: Path) -> None:
    """Write mnist.npz: x_train (4000, 28, 28), y_train (4000,), x_test, y_test. Used in lesson 1.

    uint8, light on dark. Each digit as often as any other, in random order. Not compressed: the
    same bytes everywhere.
    """
    rng = np.random.default_rng(0)
    x, y = digits()
    rows = rng.permuted([np.flatnonzero(y == digit) for digit in range(10)], axis=1)  # (10, 500)
    train = rng.permutation(rows[:, :TRAIN].ravel())
    test = rng.permutation(rows[:, TRAIN:].ravel())
    arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    np.savez(target / "mnist.npz", **arrays)
