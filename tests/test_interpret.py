"""Which pictures are shown: against a choice by hand and properties of random predictions."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils.interpret import ImageModelResults
from course_utils.loaders import ArrayDataset
from course_utils.transforms import CropType, Transforms

SZ, CLASSES = 8, ["ape", "bee", "cat"]


def results(probs, y, classes=CLASSES):
    """Of pictures that are grey, the i-th with brightness i / 10."""
    grey = np.broadcast_to(np.arange(len(y))[:, None, None, None] / 10, (len(y), SZ, SZ, 3)).astype(np.float32)
    ds = ArrayDataset(grey, np.array(y), tfm=Transforms(SZ, ((0, 0, 0), (1, 1, 1)), CropType.CENTER))
    ds.classes = classes
    return ImageModelResults(ds, np.log(probs))


@pytest.fixture
def by_hand():
    probs = [[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6]]
    return results(probs, [0, 0, 0, 0, 1])


def test_choices_by_hand(by_hand):
    assert by_hand.most_by_correct(0, True).tolist() == [3, 0, 2]
    assert by_hand.most_by_correct(0, False).tolist() == [1]
    assert by_hand.most_by_correct(1, False).tolist() == [4]
    assert by_hand.most_by_uncertain(2).tolist() == [2, 4]
    assert sorted(by_hand.rand_by_correct(True)) == [0, 2, 3]
    assert sorted(by_hand.rand_by_correct(False)) == [1, 4]


def test_views_of_tta_are_averaged_as_probabilities():
    views = np.array([[[0.9, 0.1]], [[0.2, 0.8]], [[0.2, 0.8]]])
    found = results(views, [1])
    np.testing.assert_allclose(found.probs, [[1.3 / 3, 1.7 / 3]])
    assert found.correct.tolist() == [True]


def test_a_gallery_shows_the_pictures_in_order_under_the_name_of_the_class(by_hand):
    by_hand.plot_most_correct(0)
    fig = plt.gcf()
    shown = [ax.images[0].get_array().mean() for ax in fig.axes]
    assert fig.get_suptitle() == "Most correct: ape"
    np.testing.assert_allclose(shown, [0.3, 0, 0.2], atol=1e-6)
    assert [ax.get_title() for ax in fig.axes] == ["0.900", "0.800", "0.400"]
    plt.close("all")


def test_without_names_the_number_of_the_class_is_shown_and_nothing_is_no_picture(capsys):
    found = results([[0.8, 0.2]], [0], classes=())
    found.plot_most_incorrect(0)
    assert capsys.readouterr().out == "Most incorrect: class 0: none\n"
    assert not plt.get_fignums()


def test_predictions_for_other_pictures_are_refused(by_hand):
    with pytest.raises(ValueError, match="3 predictions for 5 pictures"):
        ImageModelResults(by_hand.ds, np.zeros((3, 3)))
