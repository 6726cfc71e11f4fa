"""MNIST as four arrays, whichever form its folder has."""

from pathlib import Path

import numpy as np
from torchvision.datasets.mnist import read_image_file, read_label_file

__all__ = ["read_digits", "read_idx"]

SIDE = 28  # pixels


def read_digits(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x_train (n, 28, 28), y_train (n,), x_test, y_test: uint8, ink is 255. Used in lesson 1.

    `folder` holds mnist.npz, as the sample does, or MNIST's own four files in idx format.
    FileNotFoundError if it holds neither, ValueError if they are damaged.
    """
    file = folder / "mnist.npz"
    if file.is_file():
        with np.load(file) as arrays:
            return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]
    return *read_idx(folder, "train"), *read_idx(folder, "t10k")


def read_idx(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, 28, 28) and labels (n,), uint8, of "train" or "t10k", from two files.

    ValueError, in one line, if a file is damaged or the two do not fit.
    """
    pictures = folder / f"{part}-images-idx3-ubyte"
    labels = folder / f"{part}-labels-idx1-ubyte"
    try:
        x = read_image_file(str(pictures)).numpy()
        y = read_label_file(str(labels)).numpy().astype(np.uint8)
    except (AssertionError, RuntimeError, TypeError, ValueError):  # what they say of such files
        raise ValueError(f"{pictures} or {labels.name} is damaged, or not in idx format") from None
    if x.shape != (len(y), SIDE, SIDE):
        raise ValueError(f"{pictures}: not {len(y)} pictures of {SIDE} x {SIDE}")
    return x, y
