"""How good the predictions are. scikit-learn has the rest (log_loss, confusion_matrix, …)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import log_loss
from torch import Tensor

from .core import T, as_tensor
from .scores import lower_is_better, mean_over_rows

__all__ = ["accuracy", "accuracy_np", "accuracy_thresh", "exp_rmspe", "f2", "log_loss", "opt_th"]
__all__ += ["lower_is_better", "mean_over_rows"]

Array = Tensor | np.ndarray


@mean_over_rows
def accuracy(preds: Tensor, targs: Tensor) -> Tensor:
    """Share of rows whose largest score is at the target: preds (n, c), targs (n,).

    ValueError for a single column of scores, of which the largest is always the first.
    """
    _check_classes(preds.shape)
    return (preds.argmax(1) == targs.reshape(len(preds))).float().mean()


def accuracy_np(preds: np.ndarray, targs: np.ndarray) -> float:
    """`accuracy` for arrays. Used in lessons 1, 4 and 7."""
    _check_classes(np.shape(preds))
    return float((np.argmax(preds, 1) == np.reshape(targs, len(preds))).mean())


def _check_classes(shape: Sequence[int]) -> None:
    if len(shape) < 2 or shape[1] < 2:
        raise ValueError(
            f"accuracy needs preds of a column for each class, not {(*shape,)}: see accuracy_thresh"
        )


def accuracy_thresh(thresh: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A metric for several labels: share of the n x c answers on the right side of `thresh`.

    An answer is yes above `thresh`, no at it. ValueError unless preds and targs have one shape.
    """

    @mean_over_rows
    def accuracy_thresh(preds: Tensor, targs: Tensor) -> Tensor:
        if preds.shape != targs.shape:
            shapes = f"{(*preds.shape,)} and {(*targs.shape,)}"
            raise ValueError(f"accuracy_thresh needs preds and targs of one shape, not {shapes}")
        return ((preds > thresh) == targs.bool()).float().mean()

    return accuracy_thresh


def f2(
    preds: Array, targs: Array, start: float = 0.17, end: float = 0.24, step: float = 0.01
) -> float:
    """Best F2 score over the thresholds start, start + step, …, end.

    `preds` in 0..1 and `targs` 0/1, both (n, c). A row's F2 is 5 hits / (4 true labels + predicted
    labels), 0 without either; the score is the mean over the rows. Chosen and measured on the same
    rows: a little too good for other rows. Used in lesson 2.
    """
    return _best_f2(preds, targs, start, end, step).score


def opt_th(
    preds: Array, targs: Array, start: float = 0.17, end: float = 0.24, step: float = 0.01
) -> float:
    """The threshold that `f2` has chosen, the lowest of equal ones."""
    return _best_f2(preds, targs, start, end, step).threshold


class Thresholded(NamedTuple):
    """A score, and the threshold that gives it."""

    threshold: float
    score: float


def _best_f2(preds: Array, targs: Array, start: float, end: float, step: float) -> Thresholded:
    """On the device of `preds`; scikit-learn would copy them for every threshold."""
    scores = T(preds)
    truth = T(targs).bool()
    if scores.shape != truth.shape or scores.ndim != 2:
        shapes = f"{(*scores.shape,)} and {(*truth.shape,)}"
        raise ValueError(f"f2 needs preds and targs of one shape (n, c), not {shapes}")
    if step <= 0 or end < start:
        raise ValueError(f"there are no thresholds from {start} to {end} in steps of {step}")
    n_steps = round((end - start) / step)  # rounded, so that `end` is among the thresholds
    thresholds = [start + step * k for k in range(n_steps + 1)]
    f2s = [_mean_f2(scores > threshold, truth).item() for threshold in thresholds]
    best = int(np.argmax(f2s))  # the first of equal ones
    return Thresholded(thresholds[best], f2s[best])


def _mean_f2(said: Tensor, truth: Tensor) -> Tensor:
    """F2 of yes and no, (n, c), given what is true, (n, c)."""
    hits = (said & truth).sum(1)  # (n,)
    out_of = 4 * truth.sum(1) + said.sum(1)  # (n,)
    return (5 * hits / out_of.clamp(min=1)).mean()  # 0 / 1 without either


@lower_is_better
def exp_rmspe(y_pred: Any, targ: Any) -> float:
    """Root mean square of (sales - prediction) / sales, given the logarithms of both, (n,).

    ValueError for sales that are 0, missing or infinite. Used in lesson 3.
    """
    pred = as_tensor(y_pred).exp()
    sales = as_tensor(targ).exp()
    if sales.isinf().any():
        raise ValueError("exp_rmspe takes the logarithms of sales; of these exp is infinite")
    if wrong := int((~(sales > 0)).sum()):  # with ~ a missing one counts, too
        raise ValueError(
            f"RMSPE divides by sales, and {wrong} of them are 0 or missing: leave closed days out"
        )
    error = 1 - pred.reshape(sales.shape) / sales  # as a share of the sales
    return error.square().mean().sqrt().item()
