"""Pictures in rows, and the confusion matrix: what is drawn, where."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from course_utils.plotting import plot_confusion_matrix, plots


@pytest.fixture(autouse=True)
def _figures():
    yield
    plt.close("all")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_pictures_fill_the_rows_in_order(rng):
    ims = rng.random((5, 4, 6, 3))
    plots(ims, figsize=(3, 2), rows=2, titles=["a", "b"])
    axes = plt.gcf().axes
    assert len(axes) == 6
    assert plt.gcf().get_size_inches().tolist() == [3, 2]
    for ax, im in zip(axes, ims, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), im)
    assert not axes[5].images
    assert [ax.get_title() for ax in axes] == ["a", "b", "", "", "", ""]
    assert not any(ax.axison for ax in axes)
    left = [ax.get_subplotspec().colspan.start for ax in axes]
    assert left == [0, 1, 2, 0, 1, 2]
    assert plt.gcf().get_constrained_layout()  # titles do not run into the pictures above


def test_axes_of_a_picture_in_any_order(rng):
    """Grey (h, w), and colour first or last, as arrays, tensors or whole numbers."""
    grey, last = rng.random((4, 6)), rng.random((4, 6, 3))
    whole = (last * 255).astype(np.uint8)
    plots([grey, last, torch.tensor(last).permute(2, 0, 1), whole])
    drawn = [ax.images[0] for ax in plt.gcf().axes]
    assert [im.get_array().shape for im in drawn] == [(4, 6), (4, 6, 3), (4, 6, 3), (4, 6, 3)]
    assert drawn[0].get_cmap().name == "gray"
    np.testing.assert_array_equal(drawn[1].get_array(), drawn[2].get_array())
    np.testing.assert_array_equal(drawn[3].get_array(), whole)


def cells(ax):
    """The texts of a matrix by place: {(true, predicted): text}."""
    found = {}
    for text in ax.texts:
        column, row = text.get_position()
        found[round(row), round(column)] = text.get_text()
    return found


def test_confusion_matrix_has_a_row_for_each_true_class():
    """Of three apes one is taken for a bee, and no bee for an ape."""
    cm = confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1])
    plot_confusion_matrix(cm, ["ape", "bee"])
    ax = plt.gca()
    assert cells(ax) == {(0, 0): "2", (0, 1): "1", (1, 0): "0", (1, 1): "1"}
    np.testing.assert_array_equal(ax.images[0].get_array(), [[2, 1], [0, 1]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["ape", "bee"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["ape", "bee"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("True label", "Predicted label")
    assert plt.gcf().axes == [ax]  # no scale of colours beside the numbers
    assert ax.images[0].get_cmap().name == "Blues"


def test_shares_are_those_of_each_true_class():
    cm = [[2, 1], [0, 4]]
    plot_confusion_matrix(cm, ["ape", "bee"], normalize=True)
    assert cells(plt.gca()) == {(0, 0): "0.67", (0, 1): "0.33", (1, 0): "0.00", (1, 1): "1.00"}
    assert cm == [[2, 1], [0, 4]]
