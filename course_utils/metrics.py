"""How good the predictions are. scikit-learn has the rest (log_loss, confusion_matrix, …)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import log_loss
from torch import Tensor

from .core import T, as_tensor, to_np
from .scores import lower_is_better, mean_over_rows

__all__ = ["accuracy", "accuracy_np", "accuracy_thresh", "exp_rmspe", "f2", "log_loss", "opt_th"]
__all__ += ["lower_is_better", "mean_over_rows"]

Array = Tensor | np.ndarray


@mean_over_rows
def accuracy(preds: Tensor, targs: Tensor) -> Tensor:
    """Share of rows whose largest score is at the target: preds (n, c), targs (n,)."""
    return (preds.argmax(1) == targs.reshape(len(preds))).float().mean()


def accuracy_np(preds: np.ndarray, targs: np.ndarray) -> float:
    """`accuracy` for arrays. Used in lessons 1, 4 and 7."""
    return float((np.argmax(preds, 1) == np.reshape(targs, len(preds))).mean())


def accuracy_thresh(thresh: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A metric for several labels: share of the n x c answers on the right side of `thresh`."""

    @mean_over_rows
    def accuracy_thresh(preds: Tensor, targs: Tensor) -> Tensor:
        return ((preds > thresh) == targs.bool()).float().mean()

    return accuracy_thresh


def f2(
    preds: Array, targs: Array, start: float = 0.17, end: float = 0.24, step: float = 0.01
) -> float:
    """Best F2 score over the thresholds start, start + step, …, end: preds in 0..1 and targs 0/1, both (n, c).

    A row's F2 is 5 hits / (4 true labels + predicted labels), 0 without either; the score is the mean over the rows.
    Chosen and measured on the same rows: a little too good for other rows. Used in lesson 2.
    """
    return float(_f2s(preds, targs, start, end, step)[1].max())


def opt_th(
    preds: Array, targs: Array, start: float = 0.17, end: float = 0.24, step: float = 0.01
) -> float:
    """The threshold that `f2` has chosen, the lowest of equal ones."""
    thresholds, scores = _f2s(preds, targs, start, end, step)
    return float(thresholds[scores.argmax()])


def _f2s(
    preds: Array, targs: Array, start: float, end: float, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, F2 at each; on the device of `preds`, where scikit-learn would copy them for every threshold."""
    thresholds = start + step * np.arange(
        round((end - start) / step) + 1
    )  # with `end`, whatever the rounding
    preds, targs = T(preds), T(targs).bool()
    if preds.shape != targs.shape or preds.ndim != 2:
        raise ValueError(
            f"f2 needs preds and targs of one shape (n, c), not {(*preds.shape,)} and {(*targs.shape,)}"
        )
    said = [preds > t for t in thresholds]
    scores = [5 * (s & targs).sum(1) / (4 * targs.sum(1) + s.sum(1)).clamp(min=1) for s in said]
    return thresholds, np.array([to_np(score.mean()) for score in scores])


@lower_is_better
def exp_rmspe(y_pred: Any, targ: Any) -> float:
    """Root mean square of (sales - prediction) / sales, given logarithms; ValueError for sales of 0. Lesson 3."""
    pred, sales = as_tensor(y_pred).exp(), as_tensor(targ).exp()
    if wrong := int((~(sales > 0)).sum()):
        raise ValueError(
            f"RMSPE divides by the sales, and {wrong} of them are 0 or missing: leave closed days out"
        )
    return (1 - pred.reshape(sales.shape) / sales).square().mean().sqrt().item()
