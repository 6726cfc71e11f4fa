"""How good the predictions are. scikit-learn has the rest (log_loss, confusion_matrix, …)."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

__all__ = ["accuracy", "accuracy_np", "accuracy_thresh"]


def accuracy(preds: Tensor, targs: Tensor) -> Tensor:
    """Share of rows whose largest score is at the target: preds (n, c), targs (n,)."""
    return (preds.argmax(1) == targs).float().mean()


def accuracy_np(preds: np.ndarray, targs: np.ndarray) -> float:
    """`accuracy` for arrays. Used in lessons 1, 4 and 7."""
    return float((np.argmax(preds, 1) == targs).mean())


def accuracy_thresh(thresh: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A metric for several labels: share of the n x c answers on the right side of `thresh`."""

    def accuracy_thresh(preds: Tensor, targs: Tensor) -> Tensor:
        return ((preds > thresh) == targs.bool()).float().mean()

    return accuracy_thresh
