"""The Learner: a model with its layer groups, schedules, saving and prediction."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import partial
from operator import attrgetter
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torchinfo
from torch import nn, optim
from torch.nn.modules.batchnorm import _BatchNorm

from . import rates, schedule
from .callbacks import Callback, SaveBest
from .core import DEVICE, T, children, to_device
from .files import atomic, work_dir, work_file
from .optimizers import LayerOptimizer, SGD_Momentum, set_lrs
from .training import fit, predict_with_targs, train_mode, validate

__all__ = [
    "LayerOptimizer",
    "Learner",
    "SGD_Momentum",
    "fit",
    "load_model",
    "predict_with_targs",
    "save_model",
]
__all__ += ["set_lrs", "train_mode", "validate"]

Floats, Fns = float | Sequence[float], Sequence[Callable]


def save_model(model: nn.Module, file: str | Path) -> None:
    """Write the weights to a file, whole or not at all."""
    with atomic(Path(file)) as part:
        torch.save(model.state_dict(), part)


def load_model(model: nn.Module, file: str | Path) -> None:
    """Read weights that `save_model` wrote; ValueError, and the model as it was, if they are not for this network."""
    try:
        saved = torch.load(file, map_location=DEVICE, weights_only=True)
    except (EOFError, RuntimeError, UnpicklingError):
        raise ValueError(f"{file}: not a file that save_model wrote, or cut short") from None
    there, here = (
        {k: tuple(v.shape) for k, v in state.items()} for state in (saved, model.state_dict())
    )
    if odd := [k for k in there | here if there.get(k) != here.get(k)]:
        raise ValueError(
            f"{file}: weights of another network: {odd[0]} is {there.get(odd[0])}, not {here.get(odd[0])}"
        )
    model.load_state_dict(saved)


def layer_groups(model: nn.Module) -> list[nn.Module]:
    """The children of `model`, first to last, or `model` if it has parameters of its own."""
    own = list(model.parameters(recurse=False))
    if own or not children(model):
        return [model]
    return children(model)


def freeze_to(groups: Sequence[nn.Module], n: int) -> None:
    """Train the groups from the n-th on (negative: from the end), freeze the others; or ValueError."""
    if not -len(groups) <= n < len(groups):
        raise ValueError(f"freeze_to({n}): there are {len(groups)} layer groups")
    first = n % len(groups)
    for i, group in enumerate(groups):
        group.requires_grad_(i >= first)


class Learner:
    """A model, its loss, its data (path, trn_dl, val_dl, perhaps test_dl) and opt_fn(params, lr=…), called by `fit`."""

    def __init__(self, data: Any, model: nn.Module, opt_fn: Callable | None = None, crit: Callable | None = None,
                 metrics: Fns = (), clip: float | None = None, reg_fn: Callable | None = None) -> None:  # fmt: skip
        self.data, self.crit, self.metrics, self.clip, self.reg_fn = (
            data,
            crit,
            list(metrics),
            clip,
            reg_fn,
        )
        self.module = model.to(DEVICE, memory_format=torch.channels_last)
        self.opt_fn = opt_fn or SGD_Momentum(0.9)
        self._sched: schedule.Sched | None = None

    @property
    def sched(self) -> schedule.Sched:
        """Rates and losses of the last `fit` or `lr_find`, with their plots; RuntimeError before."""
        if self._sched is None:
            raise RuntimeError("nothing to show yet: call fit or lr_find first")
        return self._sched

    model = property(attrgetter("module"), doc="The nn.Module that `fit` and `predict` run.")
    batches = property(attrgetter("data"), doc="The loaders that `fit` and `predict` use.")

    def get_layer_groups(self) -> list[nn.Module]:
        """What can be frozen or given a rate: the children, first to last, or the model if it has own parameters."""
        return layer_groups(self.model)

    def freeze_to(self, n: int) -> None:
        """Train the layer groups from the n-th on (negative: from the end); freeze the others."""
        freeze_to(self.get_layer_groups(), n)

    def freeze(self) -> None:
        """Train the last layer group only."""
        self.freeze_to(-1)

    def unfreeze(self) -> None:
        """Train everything."""
        self.freeze_to(0)

    def bn_freeze(self, do_freeze: bool = True) -> None:
        """Keep the running statistics of every BatchNorm as they are while training (or not)."""
        for m in self.module.modules():
            if isinstance(m, _BatchNorm):
                m.bn_freeze = do_freeze

    def _optimizer(self, lrs: Any, wds: Any) -> optim.Optimizer:
        opt = LayerOptimizer(self.opt_fn, self.get_layer_groups(), lrs, wds).opt
        if self.clip:
            opt.register_step_pre_hook(self._clip)
        return opt

    def _clip(
        self, opt: optim.Optimizer, *_: Any
    ) -> None:  # what was frozen may still hold an old gradient
        nn.utils.clip_grad_norm_(
            [p for group in opt.param_groups for p in group["params"]], self.clip
        )

    def fit(self, lrs: Floats, n_cycle: int, wds: Floats | None = None, cycle_len: int | None = None,
            cycle_mult: int = 1, metrics: Fns | None = None, cycle_save_name: str | None = None,
            best_save_name: str | None = None, use_clr: tuple | None = None,
            use_clr_beta: tuple | None = None, callbacks: Sequence[Callback] = ()) -> list[float]:  # fmt: skip
        """Train n_cycle epochs at a constant rate, or cycles of cosine annealing of cycle_len * cycle_mult**k epochs.

        `lrs`, `wds`: a number, or one for each layer group, else ValueError. `use_clr`, `use_clr_beta`: see `circular`.
        `cycle_save_name`: see `save_cycle`; `best_save_name`: `SaveBest`. Returns the last [validation loss, metrics…].
        """
        length = 1 if cycle_len is None else cycle_len
        if min(n_cycle, length, cycle_mult) < 1:
            raise ValueError("n_cycle, cycle_len and cycle_mult are whole numbers of 1 or more")
        epochs = [length * cycle_mult**k for k in range(n_cycle)]
        lengths = [len(self.batches.trn_dl) * n for n in epochs]  # of the cycles, in iterations
        plan = rates.constant if cycle_len is None else rates.sgdr(lengths[0], cycle_mult)
        if clr := use_clr or use_clr_beta:
            plan = (rates.circular if use_clr else rates.circular_beta)(
                lengths[0], *clr[:2], clr[2:] or None
            )
        save = (lambda _, k: self.save_cycle(cycle_save_name, k)) if cycle_save_name else None
        self._sched = schedule.Sched(self._optimizer(lrs, wds), plan, save, lengths)
        callbacks, metrics = [self.sched, *callbacks], self.metrics if metrics is None else metrics
        callbacks += [SaveBest(partial(self.save, best_save_name))] * bool(best_save_name)
        return fit(
            self.model,
            self.batches,
            sum(epochs),
            self.sched.opt,
            self.crit,
            metrics,
            callbacks,
            self.reg_fn,
        )

    def lr_find(self, start_lr: Floats = 1e-5, end_lr: float = 10, wds: Floats | None = None,
                num_it: int = 100) -> None:  # fmt: skip
        """Raise the rate to `end_lr` in an epoch, or `num_it` batches if that is more, until the loss blows up.

        Leaves the weights as they were; read the result with `sched.plot()` (Smith, 2015, arXiv:1506.01186).
        """
        opt, top = self._optimizer(start_lr, wds), float(np.max(start_lr))
        if not 0 < top < end_lr:
            raise ValueError(f"lr_find needs 0 < start_lr < end_lr, not {top:g} and {end_lr:g}")
        data = SimpleNamespace(trn_dl=copy(self.batches.trn_dl), val_dl=None)
        data.trn_dl.passes = max(
            data.trn_dl.passes, num_it * data.trn_dl.bs / len(data.trn_dl.dataset)
        )
        self._sched = schedule.LRFinder(opt, rates.exponential(len(data.trn_dl), end_lr / top))
        before = {k: v.clone() for k, v in self.model.state_dict().items()}
        try:
            fit(self.model, data, 1, opt, self.crit, (), [self.sched], self.reg_fn)
        finally:
            self.model.load_state_dict(before)

    def save(self, name: str) -> None:
        """Write the weights of the whole model to models/NAME.pt, whole or not at all."""
        save_model(self.module, work_dir(self.data.path) / "models" / f"{name}.pt")

    def load(self, name: str) -> None:
        """Read weights that `save` wrote."""
        file = work_file(self.data.path, f"models/{name}.pt")
        if not file.exists():
            saved = ", ".join(sorted(p.stem for p in file.parent.glob("*.pt"))) or "nothing"
            raise FileNotFoundError(f"{file}: not saved yet (saved here: {saved})")
        load_model(self.module, file)

    def save_cycle(self, name: str, cycle: int) -> None:
        """Write the weights as models/NAME_cyc_CYCLE.pt, as fit(…, cycle_save_name=name) does after each cycle."""
        self.save(f"{name}_cyc_{cycle}")

    def load_cycle(self, name: str, cycle: int) -> None:
        """Read weights that `save_cycle` wrote."""
        self.load(f"{name}_cyc_{cycle}")

    def predict(self, is_test: bool = False) -> np.ndarray:
        """Predictions for the validation (or test) set in order: (n, c), log-probabilities."""
        return self.predict_with_targs(is_test)[0]

    def predict_with_targs(self, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`predict`, and the targets."""
        return predict_with_targs(
            self.model, _loader(self.batches, "test_dl" if is_test else "val_dl")
        )

    def predict_dl(self, dl: Iterable) -> np.ndarray:
        """Predictions for any loader of the whole model's inputs."""
        return predict_with_targs(self.module, dl)[0]

    def predict_array(self, arr: Any) -> np.ndarray:
        """Predictions for one batch of inputs, as an array or a tensor."""
        return self.predict_dl([[to_device(T(arr))] * 2])  # whatever stands for the targets

    def TTA(self, n_aug: int = 4, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Test time augmentation: ((ceil(n_aug / 4) + n_aug, n, c) predictions, targets); plain pictures come first.

        Log-probabilities, not averaged: take np.mean(np.exp(log_preds), 0).
        """
        names = ("test_dl", "test_aug_dl") if is_test else ("val_dl", "aug_dl")
        plain, augmented = (_loader(self.data, name) for name in names)
        preds, targs = predict_with_targs(self.module, plain)
        more = [self.predict_dl(augmented) for _ in range(n_aug)]
        return np.stack([preds] * max(1, -(-n_aug // 4)) + more), targs

    def summary(self, depth: int = 2) -> torchinfo.ModelStatistics:
        """Layers down to `depth`: output shape, number of parameters, and whether they are trained."""
        x, columns = (
            [x[:1] for x in next(iter(self.data.val_dl))[:-1]],
            ("output_size", "num_params", "trainable"),
        )
        return torchinfo.summary(
            self.module, input_data=x, col_names=columns, col_width=18, depth=depth, verbose=0
        )


def _loader(data: Any, name: str) -> Iterable:
    if (dl := getattr(data, name, None)) is None:
        hint = ": name the test set when making it (test_name=…)" if "test" in name else ""
        raise ValueError(f"the data has no {name}{hint}")
    return dl
