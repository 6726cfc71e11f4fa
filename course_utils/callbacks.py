"""What can listen to `fit`: the events, in their order, and what a listener does at each."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

__all__ = ["EVENTS", "Callback", "SaveBest", "tell"]

EVENTS = [  # of a training of one epoch with one batch, in this order
    "on_train_begin",
    "on_phase_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_batch_end",
    "on_phase_end",
    "on_epoch_end",
    "on_train_end",
]


class Callback:
    """What can listen to `fit`: an object with any of these methods, of this class or not.

    A true value from `on_batch_end` or `on_epoch_end` ends the training: after this batch, the set
    is validated and the epoch closed. All of `fit` is one phase; its last batch ends it.
    """

    def on_train_begin(self) -> None:
        """Before anything else."""

    def on_phase_begin(self) -> None:
        """Right after `on_train_begin`."""

    def on_epoch_begin(self) -> None:
        """Before the first batch of an epoch."""

    def on_batch_begin(self) -> None:
        """Before a batch is shown to the model."""

    def on_batch_end(self, loss: Tensor) -> bool | None:
        """After the step. `loss` is that of this batch, a tensor of no axes, left on the device."""

    def on_phase_end(self) -> None:
        """After the last batch, before the set is validated."""

    def on_epoch_end(self, metrics: list[float]) -> bool | None:
        """After an epoch: [validation loss, metrics…], nothing without a validation set."""

    def on_train_end(self) -> None:
        """After the last epoch; not if an error or the user has ended the training."""


def tell(callbacks: Sequence[Any], event: str, *news: Any) -> bool:
    """Call the method `event` of all callbacks that have one; whether any asks to stop."""
    answers = [getattr(cb, event)(*news) for cb in callbacks if hasattr(cb, event)]
    return any(answers)


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """ValueError for what could never be called: a class in an object's place, or no method."""
    for cb in callbacks:
        if isinstance(cb, type):
            raise ValueError(f"callbacks hold the class {cb.__name__}: make an object of it")
        if not any(hasattr(cb, event) for event in EVENTS):
            raise ValueError(f"{type(cb).__name__} is no callback: it has none of {EVENTS}")


class SaveBest(Callback):
    """Calls `save` after each epoch better than all before it.

    The first metric decides, and the loss among equal ones; without metrics the loss alone. A
    higher metric is better, as in fastai 0.7, unless `lower_is_better`.
    """

    def __init__(self, save: Callable[[], Any], lower_is_better: bool = False) -> None:
        self.save = save
        self.lower_is_better = lower_is_better
        self.best: list[float] = []

    def on_epoch_end(self, metrics: list[float]) -> None:
        if not metrics or any(math.isnan(value) for value in metrics[:2]):
            return
        score = self._score(*metrics[:2])
        if not self.best or score < self.best:
            self.save()
            self.best = score

    def _score(self, loss: float, metric: float | None = None) -> list[float]:
        """[metric, loss], or [loss]: compared from left to right, the lowest is the best."""
        if metric is None:
            return [loss]
        rounded = float(f"{metric:.6g}")  # means over batches that are equal but for rounding
        return [rounded if self.lower_is_better else -rounded, loss]
