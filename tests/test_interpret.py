"""Which pictures are shown: against a choice by hand and properties of random predictions."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils.batches import ArrayDataset
from course_utils.interpret import ImageModelResults
from course_utils.transforms import CropType, Transforms

SZ, CLASSES = 8, ["ape", "bee", "cat"]


def results(probs, y, classes=CLASSES):
    """Of pictures that are grey, the i-th with brightness i / 10; of more than ten, with i / their number."""
    levels = np.arange(len(y))[:, None, None, None] / max(10, len(y))
    grey = np.broadcast_to(levels, (len(y), SZ, SZ, 3)).astype(np.float32)
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


def shown():
    """(brightness of each picture, titles, title of all) of the last figure."""
    fig = plt.gcf()
    pictures = [round(float(ax.images[0].get_array().mean()), 3) for ax in fig.axes]
    titles = [ax.get_title() for ax in fig.axes]
    plt.close("all")
    return pictures, titles, fig.get_suptitle()


def test_a_gallery_of_random_answers(by_hand):
    """The pictures of 0, 0.2 and 0.3 are right, those of 0.1 and 0.4 wrong; titles are probabilities of a class."""
    for is_correct, rows, title in ((True, [0, 2, 3], "Random correct"), (False, [1, 4], "Random incorrect")):
        for given, y in (((), 1), ((2,), 2)):
            by_hand.plot_random(is_correct, *given)
            pictures, titles, over = shown()
            assert sorted(pictures) == [row / 10 for row in rows]
            assert titles == [f"{by_hand.probs[round(10 * p), y]:.3f}" for p in pictures]
            assert over == title
    np.random.seed(0)  # noqa: NPY002  the generator of the videos
    orders = {tuple(by_hand.rand_by_correct(True)) for _ in range(50)}
    assert len(orders) == 6
    assert {tuple(by_hand.rand_by_correct(True, 1)) for _ in range(50)} == {(0,), (2,), (3,)}


def test_a_gallery_of_what_cannot_be_decided(by_hand):
    by_hand.plot_most_uncertain()
    assert shown() == ([0.2, 0.4, 0.1, 0], ["0.300", "0.200", "0.700", "0.100"], "Most uncertain")
    by_hand.plot_most_uncertain(2)
    assert shown()[1] == ["0.300", "0.600", "0.200", "0.100"]
    by_hand.plot_val_with_title(np.array([4, 0]), "Two")
    assert shown() == ([0.4, 0], ["0.200", "0.100"], "Two")


def test_four_unless_told_otherwise_and_of_equal_ones_the_first():
    right, wrong = results([[0.7, 0.3]] * 40, [0] * 40), results([[0.3, 0.7]] * 40, [0] * 40)
    assert right.most_by_correct(0, True).tolist() == [0, 1, 2, 3]
    assert wrong.most_by_correct(0, False).tolist() == [0, 1, 2, 3]
    assert right.most_by_uncertain().tolist() == [0, 1, 2, 3]
    assert len(set(right.rand_by_correct(True))) == 4
    assert right.most_by_correct(0, True, 40).tolist() == right.most_by_uncertain(40).tolist() == [*range(40)]
