"""What sets the rates batch by batch, and the record of a run with its plots."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from .callbacks import Callback, SaveBest
from .rates import Schedule, circular, circular_beta, constant, exponential, sgdr, smooth

__all__ = [
    "Callback",
    "CosAnneal",
    "LRFinder",
    "SaveBest",
    "Sched",
    "circular",
    "circular_beta",
    "constant",
    "exponential",
    "sgdr",
    "smooth",
]


class Sched(Callback):
    """Sets the rates before each batch; remembers them and the losses for the plots.

    `lrs`: the rate of the last layer group that is trained, for each batch; `raw`: the loss of
    each, on the device; `val_losses`: one an epoch.
    """

    def __init__(
        self,
        opt: torch.optim.Optimizer,
        schedule: Schedule = constant,
        on_cycle_end: Callable[["Sched", int], Any] | None = None,
        lengths: Iterable[int] = (),
    ) -> None:
        """on_cycle_end(self, k) is called after the last batch of the k-th cycle (0, 1, …).

        `lengths`: iterations of each cycle. `schedule`: see course_utils.rates.
        """
        self.opt = opt
        self.schedule = schedule
        self.base = [group["lr"] for group in opt.param_groups]
        trained = [i for i, group in enumerate(opt.param_groups) if group["params"]]
        self.shown = trained[-1]  # the group whose rate is kept in `lrs`
        self.on_cycle_end = on_cycle_end
        self.cycle = 0
        self.coming = iter(lengths)  # of the cycles that have not begun
        self.left = next(self.coming, None)  # batches to the end of this one, if it has one
        self.lrs: list[float] = []
        self.raw: list[Tensor] = []  # reading them one by one would stall a GPU
        self.val_losses: list[float] = []

    def on_batch_begin(self) -> None:
        step = self.schedule(len(self.lrs))
        for group, lr in zip(self.opt.param_groups, self.base, strict=True):
            group["lr"] = lr * step.factor
            if step.momentum is not None:
                _set_momentum(group, step.momentum)
        self.lrs.append(self.base[self.shown] * step.factor)

    def on_batch_end(self, loss: Tensor) -> bool | None:
        self.raw.append(loss)
        if self.left is not None:
            self.left -= 1
        if self.left == 0:
            if self.on_cycle_end is not None:
                self.on_cycle_end(self, self.cycle)
            self.cycle += 1
            self.left = next(self.coming, None)
        return None

    def on_epoch_end(self, metrics: list[float]) -> None:
        self.val_losses += metrics[:1]

    @property
    def losses(self) -> np.ndarray:
        """The smoothed loss of each batch."""
        return smooth([loss.item() for loss in self.raw])

    def plot_loss(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against iteration, without the first and last few."""
        ax = _plot(range(len(self.raw)), self.losses, n_skip, n_skip_end)
        ax.set(xlabel="iteration", ylabel="loss (smoothed)")

    def plot_lr(self) -> None:
        """Learning rate of the last layer group against iteration."""
        ax = _plot(range(len(self.lrs)), self.lrs)
        ax.set(xlabel="iteration", ylabel="learning rate")

    def plot(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against learning rate, on a log axis: for reading `lr_find`."""
        lrs = self.lrs[: len(self.raw)]  # an interrupted batch has a rate and no loss
        ax = _plot(lrs, self.losses, n_skip, n_skip_end)
        ax.set(xlabel="learning rate (log scale)", ylabel="loss (smoothed)", xscale="log")


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    """Adam's is the first of its betas."""
    if "betas" in group:
        _, beta2 = group["betas"]
        group["betas"] = momentum, beta2
    else:
        group["momentum"] = momentum


def _plot(x: Sequence, y: Sequence | np.ndarray, n_skip: int = 0, n_skip_end: int = 0) -> plt.Axes:
    """A line in a new figure, without the first n_skip points and the last, unless few are left."""
    n = len(x)
    if n < n_skip + n_skip_end + 5:
        n_skip = n_skip_end = 0
    kept = slice(n_skip, n - n_skip_end)
    _, ax = plt.subplots(figsize=(6, 3.5))
    ax.plot(x[kept], y[kept])
    ax.grid(alpha=0.3)
    return ax


class CosAnneal(Sched):
    """`sgdr` as a callback for the low-level `fit`. Used in lesson 6."""

    def __init__(
        self,
        layer_opt: Any,
        nb: int,
        on_cycle_end: Callable[[Sched, int], Any] | None = None,
        cycle_mult: int = 1,
    ) -> None:
        """`layer_opt`: a `LayerOptimizer`; `nb`: iterations of the first cycle."""
        lengths = (nb * cycle_mult**k for k in count())
        super().__init__(layer_opt.opt, sgdr(nb, cycle_mult), on_cycle_end, lengths)


class LRFinder(Sched):
    """Stops when the smoothed loss is far above its best (from the 11th batch on), or NaN.

    Far is more than three times the best one's size: 4 times a positive best.
    """

    best = math.inf
    average = 0.0

    def on_batch_end(self, loss: Tensor) -> bool:
        super().on_batch_end(loss)
        n = len(self.raw)
        self.average = 0.98 * self.average + 0.02 * loss.item()
        smoothed = self.average / (1 - 0.98**n)  # corrected for its start, as `smooth` does
        if n > 10:
            self.best = min(self.best, smoothed)
        return math.isnan(smoothed) or smoothed > self.best + 3 * abs(self.best)
