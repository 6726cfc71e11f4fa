"""What `fit` has to know about a loss or a metric: its name, its direction, how batches add up."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

__all__ = ["lower_is_better", "mean_over_rows"]

Score = TypeVar("Score", bound=Callable)

BY_ELEMENT = {  # compare each prediction with a target of its own
    *(F.mse_loss, nn.MSELoss),
    *(F.l1_loss, nn.L1Loss),
    *(F.smooth_l1_loss, nn.SmoothL1Loss),
    *(F.huber_loss, nn.HuberLoss),
    *(F.binary_cross_entropy, nn.BCELoss),
    *(F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss),
    *(F.poisson_nll_loss, nn.PoissonNLLLoss),
    *(F.soft_margin_loss, nn.SoftMarginLoss),
}
BY_CLASS = {  # compare the scores of a row with the number of its class
    *(F.nll_loss, nn.NLLLoss),
    *(F.cross_entropy, nn.CrossEntropyLoss),
}


def mean_over_rows(metric: Score) -> Score:
    """Mark a metric, a function or a class, as a mean over rows: `fit` then need not keep the set.

    The set's is the mean of its batches', weighted by rows. That holds for an accuracy, not for
    an F score, a root, or a correlation. A metric that says nothing gets the whole set at once.
    """
    return _mark(metric, "mean_over_rows")


def lower_is_better(metric: Score) -> Score:
    """Mark a metric, a function or a class, that is the lower the better; `SaveBest` asks."""
    return _mark(metric, "lower_is_better")


def is_mean_over_rows(metric: Callable) -> bool:
    """Whether a metric is marked so, or a loss of PyTorch that takes the mean."""
    if _kind(metric) in BY_ELEMENT | BY_CLASS:
        return _settings(metric).get("reduction", "mean") == "mean"
    return _is_marked(metric, "mean_over_rows")


def falls(metric: Callable) -> bool:
    """Whether a lower value is a better one: of losses of PyTorch, and of what is marked so."""
    if isinstance(metric, _Loss) or _kind(metric) in BY_ELEMENT | BY_CLASS:
        return True
    return _is_marked(metric, "lower_is_better")


def name_of(metric: Callable) -> str:
    """The name of a function, also of one with some arguments given, or of an object's class."""
    function = _without_partial(metric)
    return getattr(function, "__name__", type(function).__name__)


def loss_of(crit: Callable, out: Tensor, y: Any) -> Tensor:
    """crit(out, y), but a loss that compares them one by one gets them in one shape.

    PyTorch itself makes a table (n, n) of predictions (n, 1) and targets (n,), with a warning.
    """
    if isinstance(y, Tensor) and y.shape != out.shape:
        y = _in_shape_of(out, y, crit)
    return crit(out, y)


def weight_of(score: Callable, y: Any) -> int | Tensor:
    """How much the mean over a batch counts in that over the set: as many as the batch has rows.

    A class loss with weights divides by those of its targets, and leaves out `ignore_index`.
    """
    if _kind(score) not in BY_CLASS or y.is_floating_point():
        return len(y)
    weight = _settings(score).get("weight")
    ignored = _settings(score).get("ignore_index", -100)
    if weight is None and ignored == -100:  # PyTorch's number for "none"
        return len(y)
    counted = y != ignored  # (n,)
    if weight is None:
        return counted.sum()
    of_target = weight[y.clamp(0, len(weight) - 1)]  # (n,)
    return (of_target * counted).sum()


def _mark(metric: Score, mark: str) -> Score:
    # With itself, not True: functools.wraps copies marks to functions for which they may not hold.
    setattr(metric, mark, metric)
    return metric


def _is_marked(metric: Callable, mark: str) -> bool:
    function = _without_partial(metric)
    marked = getattr(function, mark, None)
    return marked is not None and (marked is function or marked is _kind(function))


def _in_shape_of(out: Tensor, y: Tensor, crit: Callable) -> Tensor:
    """Targets in the shape of the predictions where `crit` needs that; else ValueError."""
    shapes = f"predictions {tuple(out.shape)}, targets {tuple(y.shape)}"
    differ_in_ones = _without_ones(out) == _without_ones(y)
    if _kind(crit) in BY_ELEMENT:
        if not differ_in_ones:
            raise ValueError(f"{shapes}: {name_of(crit)} needs one target for each prediction")
        return y.reshape(out.shape)
    if differ_in_ones and y.is_floating_point():  # a loss of one's own, which may be right
        warnings.warn(f"{shapes}: their difference is a table; give them one shape", stacklevel=4)
    return y


def _without_ones(t: Tensor) -> list[int]:
    return [size for size in t.shape if size != 1]


def _without_partial(function: Callable) -> Callable:
    while isinstance(function, partial):
        function = function.func
    return function


def _kind(score: Callable) -> Any:
    """The function, also behind a method or `partial`; of an object its class."""
    function = _without_partial(score)
    function = getattr(function, "__func__", function)
    return function if isinstance(function, FunctionType) else type(function)


def _settings(score: Callable) -> Mapping[str, Any]:
    """What was given to `partial`, or to the module when it was made."""
    if isinstance(score, nn.Module):
        return {
            name: getattr(score, name, None) for name in ("weight", "ignore_index", "reduction")
        }
    return getattr(score, "keywords", {})
