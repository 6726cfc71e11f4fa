"""What sets the rates batch by batch, and the record of a run with its plots."""

import math
from collections.abc import Callable, Iterable
from itertools import accumulate, count
from typing import Any

import matplotlib.pyplot as plt
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
]
__all__ += ["exponential", "sgdr", "smooth"]


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
                group |= (
                    {"betas": (momentum, group["betas"][1])}
                    if "betas" in group
                    else {"momentum": momentum}
                )
        self.lrs.append(self.base[-1] * factor)

    def on_batch_end(self, loss: Tensor) -> bool | None:
        self.raw.append(loss)
        if len(self.raw) == self.end:
            if self.on_cycle_end:
                self.on_cycle_end(self, self.cycle)
            self.cycle, self.end = next(self.ends, (self.cycle, None))

    def on_epoch_end(self, metrics: list[float]) -> bool | None:
        self.val_losses += metrics[:1]

    losses = property(
        lambda self: smooth([loss.item() for loss in self.raw]),
        doc="The smoothed loss of each batch.",
    )

    def plot_loss(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against iteration, without the first and last few."""
        self._plot(
            range(len(self.raw)), self.losses, "iteration", "loss (smoothed)", n_skip, n_skip_end
        )

    def plot_lr(self) -> None:
        """Learning rate of the last layer group against iteration."""
        self._plot(range(len(self.lrs)), self.lrs, "iteration", "learning rate")

    def plot(self, n_skip: int = 10, n_skip_end: int = 5) -> None:
        """Smoothed loss against learning rate, on a log axis: for reading `lr_find`."""
        lrs = self.lrs[: len(self.raw)]  # an interrupted batch has a rate and no loss
        self._plot(
            lrs, self.losses, "learning rate (log scale)", "loss (smoothed)", n_skip, n_skip_end
        )
        plt.xscale("log")

    def _plot(
        self, x: Any, y: Any, xlabel: str, ylabel: str, n_skip: int = 0, n_skip_end: int = 0
    ) -> None:
        keep = (
            slice(n_skip, len(x) - n_skip_end) if len(x) >= n_skip + n_skip_end + 5 else slice(None)
        )
        _, ax = plt.subplots(figsize=(6, 3.5))
        ax.plot(x[keep], y[keep])
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.grid(alpha=0.3)


class CosAnneal(Sched):
    """`sgdr` as a callback for the low-level `fit`; `layer_opt`: a `LayerOptimizer`."""

    def __init__(
        self, layer_opt: Any, nb: int, on_cycle_end: Callable | None = None, cycle_mult: int = 1
    ) -> None:
        super().__init__(
            layer_opt.opt, sgdr(nb, cycle_mult), on_cycle_end, (nb * cycle_mult**k for k in count())
        )


class LRFinder(Sched):
    """Stops when the smoothed loss is over 4 times its best (from the 11th batch on), or NaN."""

    best, average = math.inf, 0.0

    def on_batch_end(self, loss: Tensor) -> bool:
        super().on_batch_end(loss)
        self.average = 0.98 * self.average + 0.02 * loss.item()
        last = self.average / (1 - 0.98 ** len(self.raw))
        self.best = min(self.best, last) if len(self.raw) > 10 else self.best
        return math.isnan(last) or last > 4 * self.best
