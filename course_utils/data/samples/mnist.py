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
    rows = [np.flatnonzero(y == digit) for digit in range(10)]
    shuffled = rng.permuted(rows, axis=1)  # (10, 500), each digit by itself
    train = rng.permutation(shuffled[:, :TRAIN].ravel())
    test = rng.permutation(shuffled[:, TRAIN:].ravel())
    np.savez(
        target / "mnist.npz",
        x_train=x[train],
        y_train=y[train],
        x_test=x[test],
        y_test=y[test],
    )
