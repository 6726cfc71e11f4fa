"""What losses and metrics say of themselves, and how batches add up, against PyTorch on the whole set."""

from dataclasses import dataclass
from functools import partial, wraps

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.metrics import accuracy, accuracy_thresh, exp_rmspe, f2
from course_utils.scores import falls, is_mean_over_rows, loss_of, lower_is_better, mean_over_rows, name_of
from course_utils.training import MeanScore


@mean_over_rows
def top(preds, targs, k=1):
    """Share of rows whose target is among the k highest scores."""
    return (preds.topk(k)[1] == targs[:, None]).any(1).float().mean()


@lower_is_better
@mean_over_rows
class Wrong:
    """A metric as an object."""

    def __call__(self, preds, targs):
        return (preds.argmax(1) != targs).float().mean()


class Unmarked(Wrong):
    """Computes something else, perhaps."""


@dataclass
class Unhashable:
    k: int = 1

    def __call__(self, preds, targs):
        return 0.0

    @mean_over_rows
    def share(self, preds, targs):
        return 0.0


@wraps(accuracy)
def worst_class(preds, targs):
    """No mean over rows, whatever it has taken over from the function it wraps."""


MEANS = [accuracy, accuracy_thresh(0.5), top, partial(top, k=2), partial(partial(top), k=2), Wrong(),
         Unhashable().share, F.nll_loss, F.mse_loss, nn.CrossEntropyLoss(),
         partial(F.cross_entropy, label_smoothing=0.1)]  # fmt: skip
SETS = [f2, partial(f2, end=0.3), exp_rmspe, lambda p, t: 0.0, worst_class, Unmarked(), Unhashable(), np.corrcoef,
        partial(F.mse_loss, reduction="sum"), nn.MSELoss(reduction="none"), nn.Linear(1, 1)]  # fmt: skip


@pytest.mark.parametrize("metric", MEANS)
def test_means_over_rows(metric):
    assert is_mean_over_rows(metric)


@pytest.mark.parametrize("metric", SETS)
def test_all_others_get_the_whole_set(metric):
    assert not is_mean_over_rows(metric)


@pytest.mark.parametrize(
    "metric", [exp_rmspe, Wrong(), F.l1_loss, nn.MSELoss(), partial(F.nll_loss), nn.HingeEmbeddingLoss()]
)
def test_what_falls(metric):
    assert falls(metric)


@pytest.mark.parametrize("metric", [accuracy, f2, top, worst_class, Unmarked(), Unhashable(), lambda p, t: 0.0])
def test_what_rises_or_is_unknown(metric):
    assert not falls(metric)


def test_names():
    metrics = [accuracy, partial(f2, end=0.3), Wrong(), accuracy_thresh(0.2), nn.MSELoss(), Unhashable().share]
    assert [name_of(m) for m in metrics] == ["accuracy", "f2", "Wrong", "accuracy_thresh", "MSELoss", "share"]


W, G = torch.tensor([1.0, 10.0, 0.5]), torch.Generator().manual_seed(0)
LOSSES = [F.nll_loss, F.cross_entropy, partial(F.nll_loss, weight=W), nn.CrossEntropyLoss(W),
          nn.NLLLoss(W, ignore_index=1), partial(F.cross_entropy, ignore_index=2),
          partial(F.cross_entropy, weight=W, label_smoothing=0.2),
          partial(F.cross_entropy, weight=W, ignore_index=255)]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bs", [1, 7, 40])
def test_class_losses_of_batches_add_up_to_that_of_the_set(loss, bs):
    out, y = torch.randn(40, 3, generator=G).log_softmax(1), torch.randint(3, (40,), generator=G)
    if getattr(loss, "keywords", {}).get("ignore_index") == 255:
        y[::3] = 255
    score = MeanScore(loss, np.float64)
    for pair in zip(out.split(bs), y.split(bs), strict=True):
        score.add(*pair)
    assert score.value() == pytest.approx(loss(out, y).item(), rel=1e-6)


def test_a_class_of_the_number_100_counts():
    """PyTorch's number for "no class" is -100."""
    out, y = torch.randn(9, 120, generator=G), torch.arange(96, 105)
    for loss in (F.cross_entropy, partial(F.cross_entropy, weight=torch.rand(120, generator=G))):
        score = MeanScore(loss, np.float64)
        for pair in zip(out.split(4), y.split(4), strict=True):
            score.add(*pair)
        assert score.value() == pytest.approx(loss(out, y).item(), rel=1e-6)


def test_losses_with_probabilities_as_targets_count_rows():
    out, y = torch.randn(10, 3, generator=G), torch.rand(10, 3, generator=G).softmax(1)
    loss, score = partial(F.cross_entropy, weight=W), MeanScore(partial(F.cross_entropy, weight=W), np.float64)
    for pair in zip(out.split(4), y.split(4), strict=True):
        score.add(*pair)
    assert score.value() == pytest.approx(loss(out, y).item(), rel=1e-6)


ELEMENT = [
    F.mse_loss,
    F.l1_loss,
    nn.SmoothL1Loss(),
    partial(F.huber_loss, delta=0.3),
    F.binary_cross_entropy_with_logits,
]


@pytest.mark.parametrize("crit", ELEMENT)
@pytest.mark.parametrize("shapes", [((6, 1), (6,)), ((6,), (6, 1)), ((6, 1, 2), (6, 2)), ((1, 1), (1,))])
def test_shapes_that_differ_in_ones_are_the_same_rows(crit, shapes):
    out, y = (torch.rand(shape, generator=G) for shape in shapes)
    expected = crit(out.flatten(), y.flatten())
    assert torch.equal(loss_of(crit, out, y), expected)
    assert (out.shape, y.shape) == shapes


@pytest.mark.parametrize("crit", ELEMENT)
@pytest.mark.parametrize("shapes", [((6, 1), (6, 2)), ((6, 2), (6,)), ((2, 2), (2,)), ((6, 3), (1, 3)), ((6,), (5,))])
def test_other_pairs_are_refused_in_one_line(crit, shapes):
    out, y = (torch.rand(shape, generator=G) for shape in shapes)
    said = rf"^predictions {shapes[0]}, targets {shapes[1]}: \w+ needs one target for each prediction$"
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        loss_of(crit, out, y)


@pytest.mark.parametrize("crit", [F.cross_entropy, nn.CrossEntropyLoss(), lambda out, y: F.cross_entropy(out, y)])
@pytest.mark.parametrize("c", [1, 4])
def test_class_numbers_stay_as_they_are(crit, c):
    out, y = torch.randn(4, c, generator=G), torch.randint(c, (4,), generator=G)
    assert torch.equal(loss_of(crit, out, y), F.cross_entropy(out, y))


def test_a_loss_of_ones_own_gets_what_there_is_with_a_warning():
    def squeezes(out, y):
        return (out.squeeze(1) - y).square().mean()

    out, y = torch.rand(6, 1, generator=G), torch.rand(6, generator=G)
    with pytest.warns(UserWarning, match=r"predictions \(6, 1\), targets \(6,\): their difference is a table"):
        assert loss_of(squeezes, out, y) == F.mse_loss(out[:, 0], y)


def test_targets_that_are_no_tensor_are_left_to_the_loss():
    assert loss_of(lambda out, y: len(y), torch.ones(2), ("a", "b", "c")) == 3
