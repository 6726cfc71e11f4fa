"""MNIST's two forms give the same four arrays."""

import struct

import numpy as np
import pytest

from course_utils.digits import read_digits, read_idx


@pytest.fixture
def digits():
    """Random arrays of the right kind: 5 digits to train, 3 to test."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(256, size=(n, 28, 28), dtype=np.uint8) for n in (5, 3)]
    labels = [rng.integers(10, size=n, dtype=np.uint8) for n in (5, 3)]
    return pictures[0], labels[0], pictures[1], labels[1]


def write_idx(folder, digits):
    """MNIST's own files by its description: a magic number, the lengths of the axes, the bytes."""
    for prefix, (x, y) in {"train": digits[:2], "t10k": digits[2:]}.items():
        pictures = struct.pack(">4I", 2051, len(x), 28, 28) + x.tobytes()
        labels = struct.pack(">2I", 2049, len(y)) + y.tobytes()
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(pictures)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


def write_npz(folder, digits):
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(folder / "mnist.npz", **dict(zip(names, digits, strict=True)))


@pytest.mark.parametrize("write", [write_idx, write_npz])
def test_both_forms_give_the_same_arrays(write, digits, tmp_path):
    write(tmp_path, digits)
    found = read_digits(tmp_path)
    assert len(found) == 4
    for array, expected in zip(found, digits, strict=True):
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, expected)


def test_a_folder_without_digits_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        read_digits(tmp_path)


@pytest.mark.parametrize("length", [0, 3, 15, 1000])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_a_file_that_is_cut_is_named(name, length, digits, tmp_path):
    write_idx(tmp_path, digits)
    file = tmp_path / name
    content = file.read_bytes()
    file.write_bytes(content[: min(length, len(content) - 1)])
    with pytest.raises(ValueError, match=r"^.*/train-images-idx3-ubyte or train-labels-idx1-ubyte is damaged"):
        read_idx(tmp_path, "train")


def test_the_other_part_is_no_part_of_these_pictures(digits, tmp_path):
    write_idx(tmp_path, digits)
    (tmp_path / "t10k-labels-idx1-ubyte").replace(tmp_path / "train-labels-idx1-ubyte")
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte: not 3 pictures of 28 x 28$"):
        read_idx(tmp_path, "train")
