"""Learning rates as pure functions of the iteration, and the record of a training run.

A schedule maps the iteration (0, 1, 2, …) to (factor, momentum): the base rates are multiplied by the factor; momentum
None leaves it alone. `nb` is the number of iterations of the first cycle.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["Callback", "LRFinder", "Sched", "circular", "circular_beta", "constant", "exponential", "sgdr", "smooth"]

Schedule = Callable[[int], tuple[float, float | None]]


def constant(i: int) -> tuple[float, None]:
    """The base rate, always."""
    return 1.0, None


def exponential(nb: int, ratio: float) -> Schedule:
    """From 1 to `ratio` in nb iterations, by equal factors."""
    return lambda i: (ratio ** (i / nb), None)


def sgdr(nb: int, cycle_mult: int = 1) -> Schedule:
    """Cosine annealing with warm restarts (Loshchilov and Hutter, 2016, arXiv:1608.03983).

    Cycle k lasts nb * cycle_mult**k iterations. As in the videos, the first nb / 20 of all run at 1/100 of the rate
    while the cosine's clock goes on.
    """

    def factor(i: int) -> tuple[float, None]:
        if i < nb / 20:
            return 0.01, None
        length = nb
        while i >= length:
            i, length = i - length, length * cycle_mult
        return (1 + math.cos(math.pi * i / length)) / 2, None

    return factor


def circular(nb: int, div: float, cut_div: float, moms: tuple[float, float] | None = None) -> Schedule:
    """Slanted triangle, `use_clr=(div, cut_div[, high, low])` (Smith, 2015, arXiv:1506.01186).

    Up from 1/div to 1 in nb // cut_div iterations, down to 1/div in the rest; momentum the reverse.
    """
    at, factors = [0, max(nb // cut_div, 1), nb], [1 / div, 1, 1 / div]
    return _piecewise(nb, at, factors, moms and [moms[0], moms[1], moms[0]])


def circular_beta(nb: int, div: float, pct: float, moms: tuple[float, float] | None = None) -> Schedule:
    """One cycle, `use_clr_beta=(div, pct[, high, low])` (Smith, 2018, arXiv:1803.09820).

    Up from 1/div to 1, down to 1/div, then to 1/(100 div) in the last `pct` per cent; momentum the reverse.
    """
    half = int(nb * (1 - pct / 100) / 2)
    at, factors = [0, half, 2 * half, nb], [1 / div, 1, 1 / div, 1 / div / 100]
    return _piecewise(nb, at, factors, moms and [moms[0], moms[1], moms[0], moms[0]])


def _piecewise(nb: int, at: Sequence, factors: Sequence, moms: Sequence | None) -> Schedule:
    """Straight lines through the points (at, factors), repeated every nb iterations."""
    return lambda i: (float(np.interp(i % nb, at, factors)), moms and float(np.interp(i % nb, at, moms)))


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Average that forgets 2 % a step, corrected for its start: what the videos print as trn_loss."""
    return pd.Series(losses, dtype=float).ewm(alpha=0.02).mean().to_numpy()


class Callback:
    """What can listen to `fit`. A true value from an `…_end` method stops the training."""

    def on_batch_begin(self) -> None: ...
    def on_batch_end(self, loss: Tensor) -> bool | None: ...
    def on_epoch_end(self, metrics: list[float]) -> bool | None: ...


class Sched(Callback):
    """Sets the rates before each batch; remembers them (`lrs`) and the losses for the plots."""

    def __init__(self, opt: torch.optim.Optimizer, schedule: Schedule = constant) -> None:
        self.opt, self.schedule, self.base = opt, schedule, [g["lr"] for g in opt.param_groups]
        self.lrs: list[float] = []
        self.raw: list[Tensor] = []  # stay on the device: reading them one by one would stall a GPU
        self.val_losses: list[float] = []

    def on_batch_begin(self) -> None:
        factor, momentum = self.schedule(len(self.lrs))
        for group, lr in zip(self.opt.param_groups, self.base, strict=True):
            group["lr"] = lr * factor
            if momentum is not None and "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            elif momentum is not None:
                group["momentum"] = momentum
        self.lrs.append(self.base[-1] * factor)

    def on_batch_end(self, loss: Tensor) -> bool | None:
        self.raw.append(loss)

    def on_epoch_end(self, metrics: list[float]) -> bool | None:
        self.val_losses.append(metrics[0])

    @property
    def losses(self) -> np.ndarray:
        """The smoothed training loss after each iteration."""
        return smooth([loss.item() for loss in self.raw])

    def plot_loss(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against iteration, without the first and last few."""
        self._plot(range(len(self.raw)), self.losses, "iteration", "loss (smoothed)", n_skip, n_skip_end)

    def plot_lr(self) -> None:
        """Learning rate of the last layer group against iteration."""
        self._plot(range(len(self.lrs)), self.lrs, "iteration", "learning rate")

    def plot(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against learning rate, on a log axis: for reading `lr_find`."""
        self._plot(self.lrs, self.losses, "learning rate (log scale)", "loss (smoothed)", n_skip, n_skip_end)
        plt.xscale("log")

    def _plot(self, x: Any, y: Any, xlabel: str, ylabel: str, n_skip: int = 0, n_skip_end: int = 0) -> None:
        few = len(x) < n_skip + n_skip_end + 5  # then nothing can be spared
        keep = slice(None) if few else slice(n_skip, len(x) - n_skip_end)
        _, ax = plt.subplots(figsize=(6, 3.5))
        ax.plot(x[keep], y[keep])
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.grid(alpha=0.3)


class LRFinder(Sched):
    """Stops when the smoothed loss is over 4 times its best (from the 11th batch on), or NaN."""

    best, average = math.inf, 0.0

    def on_batch_end(self, loss: Tensor) -> bool:
        super().on_batch_end(loss)
        self.average = 0.98 * self.average + 0.02 * loss.item()
        last = self.average / (1 - 0.98 ** len(self.raw))
        self.best = min(self.best, last) if len(self.raw) > 10 else self.best
        return math.isnan(last) or last > 4 * self.best
