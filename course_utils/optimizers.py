"""Optimizers with a rate and a weight decay for each layer group."""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
from torch import nn, optim

__all__ = ["LayerOptimizer", "SGD_Momentum", "set_lrs"]

Floats = float | Sequence[float]


def SGD_Momentum(momentum: float) -> Callable[..., optim.Optimizer]:
    """An `opt_fn`: stochastic gradient descent with this momentum."""
    return partial(optim.SGD, momentum=momentum)


def set_lrs(opt: optim.Optimizer, lrs: Floats) -> None:
    """Set the learning rate of each parameter group; one number serves all."""
    for group, lr in zip(
        opt.param_groups, _per_group(lrs, len(opt.param_groups), "rates"), strict=True
    ):
        group["lr"] = lr


def _per_group(values: Any, n: int, what: str) -> list[float]:
    """One number or n of them to a list of n; refuses other lengths, negatives and NaN."""
    array = np.atleast_1d(np.asarray(values, dtype=float))
    if len(array) not in (1, n):
        raise ValueError(f"{len(array)} {what} for {n} layer groups: give one number or {n}")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{what} must be finite and not negative, got {array.tolist()}")
    return np.broadcast_to(array, n).tolist()


class LayerOptimizer:
    """`opt`: an optimizer with a rate and a weight decay for each layer group; a model by itself is one group."""

    def __init__(self, opt_fn: Callable, layer_groups: nn.Module | Sequence[nn.Module], lrs: Floats,
                 wds: Floats | None = None) -> None:  # fmt: skip
        """One number for all groups or one for each, else ValueError; what is frozen is left out."""
        groups = layer_groups if isinstance(layer_groups, (list, tuple)) else [layer_groups]
        lrs, wds = (
            _per_group(lrs, len(groups), "rates"),
            _per_group(0 if wds is None else wds, len(groups), "wds"),
        )
        trained = [[p for p in group.parameters() if p.requires_grad] for group in groups]
        rows = zip(trained, lrs, wds, strict=True)
        if not (
            params := [{"params": ps, "lr": lr, "weight_decay": wd} for ps, lr, wd in rows if ps]
        ):
            raise ValueError("every layer group is frozen: call unfreeze() or freeze_to(-1)")
        if len({(g["lr"], g["weight_decay"]) for g in params}) == 1:  # one group makes faster steps
            params = [params[0] | {"params": [p for g in params for p in g["params"]]}]
        chosen = {"foreach", "fused"} & {
            *getattr(opt_fn, "keywords", ())
        }  # by partial(opt_fn, foreach=True)
        fused = {"fused": True} if "fused" in signature(opt_fn).parameters and not chosen else {}
        self.opt: optim.Optimizer = opt_fn(params, lr=lrs[-1], **fused)
