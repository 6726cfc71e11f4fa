"""Handwritten digits: 5,000 of the 70,000 of MNIST, in one file of arrays under the names that Keras made usual."""

from pathlib import Path

import numpy as np

from course_utils.data.samples.cifar10 import digits

__all__ = ["TRAIN", "VERSION", "build"]

VERSION: int = 1
TRAIN = 400  # of the 500 pictures of each digit


def build(target: Path) -> None:
    """Write `target`/mnist.npz: x_train (4000, 28, 28) uint8, light on dark, y_train (4000,) 0..9, x_test, y_test.

    Each digit as often as any other, in random order. Not compressed: the same bytes everywhere. Used in lesson 1.
    """
    rng, (x, y) = np.random.default_rng(0), digits()
    split = np.split(
        rng.permuted([np.flatnonzero(y == d) for d in range(10)], axis=1), [TRAIN], axis=1
    )
    train, test = (rng.permutation(rows.ravel()) for rows in split)
    np.savez(
        target / "mnist.npz", x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test]
    )
