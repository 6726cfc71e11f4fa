"""Learning rates as functions of the iteration (`nb` to the first cycle), and the record of a training run."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, count
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["Callback", "CosAnneal", "LRFinder", "Sched", "circular", "circular_beta", "constant", "exponential"]
__all__ += ["sgdr", "smooth"]

Schedule = Callable[[int], tuple[float, float | None]]  # 0, 1, … to (factor of the base rates, momentum or None)


def exponential(nb: int, ratio: float) -> Schedule:
    """From 1 to `ratio` in nb iterations, by equal factors."""
    return lambda i: (ratio ** (i / nb), None)


constant = exponential(1, 1)  # the base rate, always


def sgdr(nb: int, cycle_mult: int = 1) -> Schedule:
    """Cosine annealing with warm restarts (arXiv:1608.03983), after nb / 20 iterations at 1/100, as in the videos."""

    if nb < 1 or cycle_mult < 1:
        raise ValueError(f"a cycle has 1 iteration or more, and does not shrink: not {nb}, times {cycle_mult}")

    def factor(i: int) -> tuple[float, None]:
        if i < nb / 20:
            return 0.01, None
        length = nb
        while i >= length:
            i, length = i - length, length * cycle_mult
        return (1 + math.cos(math.pi * i / length)) / 2, None

    return factor


def circular(nb: int, div: float, cut_div: float, moms: tuple[float, float] | None = None) -> Schedule:
    """Slanted triangle (arXiv:1506.01186): 1/div to 1 in nb // cut_div iterations, and back; momentum the reverse."""
    return _piecewise([0, max(nb // cut_div, 1), nb], [1 / div, 1, 1 / div], moms)


def circular_beta(nb: int, div: float, pct: float, moms: tuple[float, float] | None = None) -> Schedule:
    """One cycle (arXiv:1803.09820): 1/div to 1 to 1/div, to 1/(100 div) in the last `pct` %; momentum the reverse."""
    half = int(nb * (1 - pct / 100) / 2)
    return _piecewise([0, half, 2 * half, nb], [1 / div, 1, 1 / div, 1 / div / 100], moms)


def _piecewise(at: list[int], factors: list[float], moms: tuple[float, float] | None) -> Schedule:
    """Straight lines through (at, factors), over and over; momentum from moms[0] to moms[1], at[1], and back."""
    turns = moms and [moms[0], moms[1], *[moms[0]] * (len(at) - 2)]
    return lambda i: tuple(ys and float(np.interp(i % at[-1], at, ys)) for ys in (factors, turns))


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

    def __init__(self, opt: torch.optim.Optimizer, schedule: Schedule = constant, on_cycle_end: Callable | None = None,
                 lengths: Iterable[int] = ()) -> None:  # fmt: skip
        """on_cycle_end(self, k) is called after the k-th cycle (0, 1, …); `lengths`: iterations of each of them."""
        self.opt, self.schedule, self.base = opt, schedule, [g["lr"] for g in opt.param_groups]
        self.on_cycle_end, self.ends = on_cycle_end, enumerate(accumulate(lengths))
        self.cycle, self.end = next(self.ends, (0, None))
        self.lrs, self.val_losses = [], []
        self.raw: list[Tensor] = []  # stay on the device: reading them one by one would stall a GPU

    def on_batch_begin(self) -> None:
        factor, momentum = self.schedule(len(self.lrs))
        for group, lr in zip(self.opt.param_groups, self.base, strict=True):
            group["lr"] = lr * factor
            if momentum is not None:
                group |= {"betas": (momentum, group["betas"][1])} if "betas" in group else {"momentum": momentum}
        self.lrs.append(self.base[-1] * factor)

    def on_batch_end(self, loss: Tensor) -> bool | None:
        self.raw.append(loss)
        if len(self.raw) == self.end:
            if self.on_cycle_end:
                self.on_cycle_end(self, self.cycle)
            self.cycle, self.end = next(self.ends, (self.cycle, None))

    def on_epoch_end(self, metrics: list[float]) -> bool | None:
        self.val_losses += metrics[:1]

    losses = property(lambda self: smooth([loss.item() for loss in self.raw]), doc="The smoothed loss of each batch.")

    def plot_loss(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against iteration, without the first and last few."""
        self._plot(range(len(self.raw)), self.losses, "iteration", "loss (smoothed)", n_skip, n_skip_end)

    def plot_lr(self) -> None:
        """Learning rate of the last layer group against iteration."""
        self._plot(range(len(self.lrs)), self.lrs, "iteration", "learning rate")

    def plot(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against learning rate, on a log axis: for reading `lr_find`."""
        lrs = self.lrs[: len(self.raw)]  # an interrupted batch has a rate and no loss
        self._plot(lrs, self.losses, "learning rate (log scale)", "loss (smoothed)", n_skip, n_skip_end)
        plt.xscale("log")

    def _plot(self, x: Any, y: Any, xlabel: str, ylabel: str, n_skip: int = 0, n_skip_end: int = 0) -> None:
        keep = slice(n_skip, len(x) - n_skip_end) if len(x) >= n_skip + n_skip_end + 5 else slice(None)
        _, ax = plt.subplots(figsize=(6, 3.5))
        ax.plot(x[keep], y[keep])
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.grid(alpha=0.3)


class CosAnneal(Sched):
    """`sgdr` as a callback for the low-level `fit`; `layer_opt`: a `LayerOptimizer`."""

    def __init__(self, layer_opt: Any, nb: int, on_cycle_end: Callable | None = None, cycle_mult: int = 1) -> None:
        super().__init__(layer_opt.opt, sgdr(nb, cycle_mult), on_cycle_end, (nb * cycle_mult**k for k in count()))


class SaveBest(Callback):
    """Calls `save` after each epoch better than all before it: by the first metric, or the loss if that is equal."""

    def __init__(self, save: Callable) -> None:
        self.save, self.best = save, [math.inf, math.inf]

    def on_epoch_end(self, metrics: list[float]) -> None:
        if metrics and (score := [-m for m in metrics[1:2]] + metrics[:1]) < self.best:
            self.save()
            self.best = score


class LRFinder(Sched):
    """Stops when the smoothed loss is over 4 times its best (from the 11th batch on), or NaN."""

    best, average = math.inf, 0.0

    def on_batch_end(self, loss: Tensor) -> bool:
        super().on_batch_end(loss)
        self.average = 0.98 * self.average + 0.02 * loss.item()
        last = self.average / (1 - 0.98 ** len(self.raw))
        self.best = min(self.best, last) if len(self.raw) > 10 else self.best
        return math.isnan(last) or last > 4 * self.best
