"""MNIST as four arrays, whichever form its folder has."""

from pathlib import Path

import numpy as np
from torchvision.datasets.mnist import read_image_file, read_label_file

__all__ = ["read_digits"]

PREFIXES = {"train": "train", "test": "t10k"}  # of the files in idx format


def read_digits(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x_train (n, 28, 28), y_train (n,), x_test, y_test: uint8, ink is 255. Used in lesson 1.

    `folder` holds mnist.npz, as the sample does, or MNIST's own four files in idx format.
    FileNotFoundError if it holds neither.
    """
    file = folder / "mnist.npz"
    if file.is_file():
        with np.load(file) as arrays:
            return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]
    return *_read_part(folder, "train"), *_read_part(folder, "test")


def _read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits of one part and what they are."""
    stem = str(folder / PREFIXES[part])
    x = read_image_file(f"{stem}-images-idx3-ubyte")
    y = read_label_file(f"{stem}-labels-idx1-ubyte")  # int64 (n,)
    return x.numpy(), y.numpy().astype(np.uint8)
