"""Metrics against scikit-learn, values by hand and properties."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, fbeta_score

from course_utils.metrics import accuracy, accuracy_np, accuracy_thresh, exp_rmspe, f2, opt_th
from tests.tables_support import one_line

THRESHOLDS = np.array([0.17, 0.18, 0.19, 0.2, 0.21, 0.22, 0.23, 0.24])


def answers(seed: int, n: int = 60, c: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, many of them near the thresholds, and targets that they agree with more often than not."""
    rng = np.random.default_rng(seed)
    targs = (rng.random((n, c)) < 0.2).astype(np.float32)
    return (rng.random((n, c)) ** 2 * (0.4 + 0.6 * targs)).astype(np.float32), targs


def judged(preds: np.ndarray, targs: np.ndarray, thresholds: np.ndarray) -> list[float]:
    """scikit-learn's F2 at each threshold."""
    return [fbeta_score(targs, preds > t, beta=2, average="samples", zero_division=0) for t in thresholds]


@pytest.mark.parametrize("seed", range(5))
def test_f2_is_the_best_score_of_scikit_learn_and_opt_th_where_it_is(seed):
    preds, targs = answers(seed)
    scores = judged(preds, targs, THRESHOLDS)
    assert len(set(scores)) > 1
    assert f2(preds, targs) == pytest.approx(max(scores), abs=1e-6)
    assert opt_th(preds, targs) == pytest.approx(THRESHOLDS[np.argmax(scores)])


def test_f2_searches_any_range():
    preds, targs = answers(7)
    thresholds = np.arange(1, 10) / 10
    scores = judged(preds, targs, thresholds)
    assert f2(preds, targs, 0.1, 0.9, 0.1) == pytest.approx(max(scores), abs=1e-6)
    assert opt_th(preds, targs, 0.1, 0.9, 0.1) == pytest.approx(thresholds[np.argmax(scores)])


def test_the_last_threshold_is_searched_and_none_above_it():
    """A wrong 0.235 is left out by a threshold of 0.24 only, a wrong 0.245 by none."""
    targs = np.array([[1, 0]])
    assert opt_th(np.array([[0.9, 0.235]]), targs) == pytest.approx(0.24)
    assert f2(np.array([[0.9, 0.235]]), targs) == 1
    assert opt_th(np.array([[0.9, 0.245]]), targs) == pytest.approx(0.17)
    assert f2(np.array([[0.9, 0.245]]), targs) == pytest.approx(5 / 6)


def test_f2_by_hand():
    """Two of three labels; all three and one too many; their mean; tensors and arrays alike."""
    targs = np.array([[1, 1, 1, 0, 0]] * 2)
    preds = np.array([[0.9, 0.9, 0, 0, 0], [0.9, 0.9, 0.9, 0.9, 0]])
    assert f2(preds[:1], targs[:1]) == pytest.approx(10 / 14)
    assert f2(preds[1:], targs[1:]) == pytest.approx(15 / 16)
    assert f2(torch.tensor(preds), torch.tensor(targs)) == pytest.approx((10 / 14 + 15 / 16) / 2)


def test_f2_of_rows_without_labels_or_answers():
    assert f2(np.zeros((1, 3)), np.zeros((1, 3))) == 0
    assert f2(np.ones((1, 3)), np.zeros((1, 3))) == 0
    assert f2(np.zeros((1, 3)), np.ones((1, 3))) == 0


def test_of_equal_thresholds_the_lowest():
    assert opt_th(np.array([[0.9, 0.1]]), np.array([[1, 0]])) == pytest.approx(0.17)


def test_f2_refuses_targets_that_are_class_numbers():
    with pytest.raises(ValueError, match=r"^f2 needs preds and targs of one shape \(n, c\), not \(2, 3\) and \(2,\)$"):
        f2(np.zeros((2, 3)), np.array([0, 1]))


def test_targets_as_a_column_are_the_same_targets():
    preds, column = np.eye(4), np.arange(4)[:, None]
    assert accuracy_np(preds, column) == accuracy(torch.tensor(preds), torch.tensor(column)) == 1


def test_accuracies_against_scikit_learn():
    rng = np.random.default_rng(0)
    preds, targs = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    expected = accuracy_score(targs, preds.argmax(1))
    assert accuracy_np(preds, targs) == pytest.approx(expected)
    assert accuracy(torch.tensor(preds), torch.tensor(targs)).item() == pytest.approx(expected)
    many, truth = answers(1)
    expected = accuracy_score(truth.ravel(), many.ravel() > 0.3)
    assert accuracy_thresh(0.3)(torch.tensor(many), torch.tensor(truth)).item() == pytest.approx(expected)


def test_accuracy_of_two_classes():
    preds, targs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1])
    assert accuracy_np(preds, targs) == accuracy_score(targs, preds.argmax(1))
    assert accuracy(torch.tensor(preds), torch.tensor(targs)).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", [accuracy, accuracy_np])
@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_accuracy_of_a_single_column_of_scores_is_refused(metric, shape):
    """The largest of one score is always the first: it would be the share of zeros."""
    make = torch.tensor if metric is accuracy else np.array
    preds, targs = make([0.9, 0.1, 0.8]).reshape(shape), make([1, 0, 1])
    with pytest.raises(
        ValueError, match=r"^accuracy needs preds of a column for each class, not \(3,( 1)?\): see"
    ) as e:
        metric(preds, targs)
    one_line(e)


def test_a_prediction_at_the_threshold_is_no():
    preds, targs = torch.tensor([[0.25, 0.5, 0.75]]), torch.tensor([[0, 0, 1]])
    assert accuracy_thresh(0.5)(preds, targs) == 1
    assert accuracy_thresh(0.25)(preds, targs) == pytest.approx(2 / 3)
    assert f2(preds, targs, 0.5, 0.5) == 1
    assert f2(preds, targs, 0.25, 0.25) == pytest.approx(5 / 6)
    assert opt_th(preds, targs, 0.25, 0.75, 0.25) == 0.5


def test_accuracy_of_several_labels_wants_one_shape():
    """(n, 1) against (n,) would be judged as n x n answers."""
    message = r"^accuracy_thresh needs preds and targs of one shape, not \(4, 1\) and \(4,\)$"
    with pytest.raises(ValueError, match=message):
        accuracy_thresh(0.5)(torch.rand(4, 1), torch.ones(4))


@pytest.mark.parametrize(("start", "end", "step"), [(0.2, 0.1, 0.01), (0.1, 0.2, 0.0), (0.1, 0.2, -0.01)])
def test_f2_without_a_threshold_is_refused(start, end, step):
    message = f"there are no thresholds from {start} to {end} in steps of {step}"
    for search in (f2, opt_th):
        with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
            search(np.zeros((1, 2)), np.ones((1, 2)), start, end, step)
        assert one_line(e) == message


# exp_rmspe


def test_rmspe_by_hand():
    sales, predicted = np.array([100.0, 200, 400]), np.array([110.0, 150, 400])
    expected = math.sqrt((0.1**2 + 0.25**2 + 0) / 3)
    assert exp_rmspe(np.log(predicted), np.log(sales)) == pytest.approx(expected)
    column = torch.tensor(predicted).log()[:, None]
    assert exp_rmspe(column, torch.tensor(sales).log()) == pytest.approx(expected)


def test_rmspe_of_sales_below_1():
    sales, predicted = np.array([0.5, 0.25, 1.0]), np.array([0.4, 0.3, 1.0])
    expected = math.sqrt((0.2**2 + 0.2**2 + 0) / 3)
    assert exp_rmspe(np.log(predicted), np.log(sales)) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, math.nan])
def test_rmspe_with_sales_of_zero_is_refused(bad):
    with np.errstate(divide="ignore"):
        targ = np.log(np.array([100.0, bad]))
    with pytest.raises(ValueError, match="RMSPE divides by sales, and 1 of them are 0 or missing") as e:
        exp_rmspe(np.zeros(2), targ)
    one_line(e)


def test_rmspe_of_sales_that_are_no_logarithms_is_refused():
    """exp of 5,000 is infinite, and the error would be 1 whatever is predicted."""
    sales = np.array([5000.0, 6000.0, 7500.0])
    with pytest.raises(ValueError, match=r"^exp_rmspe takes the logarithms of sales; of these exp is infinite$"):
        exp_rmspe(np.log(sales * 1.1), sales)
