"""Which pictures are shown: against a choice by hand and properties of random predictions."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils.batches import ArrayDataset
from course_utils.interpret import ImageModelResults
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


def test_the_most_wrong_comes_first():
    """Three pictures of class 0, all taken for class 1, less and less surely."""
    found = results([[0.3, 0.7], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]], [0, 0, 0, 0], ["ape", "bee"])
    assert found.most_by_correct(0, False).tolist() == [1, 2, 0]
    assert found.most_by_correct(0, False, n=2).tolist() == [1, 2]
    found.plot_most_incorrect(0)
    assert [ax.get_title() for ax in plt.gcf().axes] == ["0.100", "0.200", "0.300"]
    assert plt.gcf().get_suptitle() == "Most incorrect: ape"
    plt.close("all")


@pytest.mark.parametrize("seed", range(5))
def test_choices_equal_a_search_by_hand(seed):
    rng = np.random.default_rng(seed)
    probs, y = rng.dirichlet([1, 1, 1], 10), rng.integers(0, 3, 10)
    found = results(probs, y)
    for label in range(3):
        right = [i for i in range(10) if y[i] == label and probs[i].argmax() == label]
        wrong = [i for i in range(10) if y[i] == label and probs[i].argmax() != label]
        by_prob = {i: probs[i, label] for i in range(10)}
        assert found.most_by_correct(label, True, 10).tolist() == sorted(right, key=by_prob.get, reverse=True)
        assert found.most_by_correct(label, False, 10).tolist() == sorted(wrong, key=by_prob.get)


def test_probabilities_are_refused_and_logarithms_are_not(by_hand):
    for probs in (by_hand.probs, np.stack([by_hand.probs] * 3)):
        with pytest.raises(ValueError, match=r"log-probabilities are never above 0: .* np\.log$"):
            ImageModelResults(by_hand.ds, probs)
    sure = np.log(np.array([[1, 0, 0]] * 5) + 1e-9)  # a little above 0
    assert ImageModelResults(by_hand.ds, sure).correct.tolist() == [True] * 4 + [False]
