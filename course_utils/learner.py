"""The Learner: a model with its layer groups, schedules, saving and prediction."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchinfo
from torch import Tensor, nn, optim
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.data import RandomSampler

from . import rates
from .batches import BatchLoader
from .callbacks import SaveBest
from .core import DEVICE, T, children, to_device
from .files import inside, work_dir, work_file, work_places
from .optimizers import Floats, LayerOptimizer, SGD_Momentum, set_lrs
from .rates import Schedule
from .saved import DamagedFile, read_tensors, write_tensors
from .schedule import LRFinder, Sched
from .scores import falls
from .training import Fns, Loaders, fit, predict_batch, predict_with_targs, train_mode, validate

__all__ = [
    "LayerOptimizer",
    "Learner",
    "SGD_Momentum",
    "fit",
    "load_model",
    "predict_with_targs",
    "save_model",
    "set_lrs",
    "train_mode",
    "validate",
]


def save_model(model: nn.Module, file: str | Path) -> None:
    """Write the weights to a file, whole or not at all. Used in lesson 6."""
    write_tensors(model.state_dict(), Path(file))


def load_model(model: nn.Module, file: str | Path) -> None:
    """Read weights that `save_model` wrote. Used in lesson 6.

    ValueError, and the model as it was, if the file is damaged or for another network.
    """
    saved = _read_weights(Path(file))
    there = {name: tuple(weight.shape) for name, weight in saved.items()}
    here = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for name in there | here:
        if there.get(name) != here.get(name):
            shapes = f"{name} is {there.get(name)}, not {here.get(name)}"
            raise ValueError(f"{file}: weights of another network: {shapes}")
    model.load_state_dict(saved)


def _read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name; `DamagedFile` for anything else."""
    kind = "a file that save_model wrote"
    mend = "save it again, or copy it again from where it is whole"
    saved = read_tensors(file, kind, mend)
    named = isinstance(saved, dict) and all(isinstance(w, Tensor) for w in saved.values())
    if not named:
        raise DamagedFile(f"{file}: not {kind}; {mend}")
    return saved


def layer_groups(model: nn.Module) -> list[nn.Module]:
    """The children of `model`, first to last, or `model` if it has parameters of its own."""
    own = list(model.parameters(recurse=False))
    if own or not children(model):
        return [model]
    return children(model)


def freeze_to(groups: Sequence[nn.Module], n: int) -> None:
    """Train the groups from the n-th on (negative: from the end), freeze the others; or ValueError.

    Each module in them has an attribute `trainable` then, as in fastai 0.7: a BatchNorm without
    weights has nothing else to tell that it is frozen.
    """
    if n not in range(-len(groups), len(groups)):
        raise ValueError(f"freeze_to({n}): there are {len(groups)} layer groups")
    first = n % len(groups)
    for i, group in enumerate(groups):
        group.requires_grad_(i >= first)
        for module in group.modules():
            module.trainable = i >= first  # type: ignore[assignment]  # typed for tensors only


class Learner:
    """A model with its data, its loss and its optimizer. Used in lessons 1 to 7.

    `data` has a `path`, `trn_dl`, `val_dl` (or None), and perhaps `test_dl`: the package's loaders,
    PyTorch's, or any others of batches (x, …, y) with a length.
    """

    def __init__(
        self,
        data: Any,
        model: nn.Module,
        opt_fn: Callable[..., optim.Optimizer] | None = None,  # (params, lr=…); SGD, momentum 0.9
        crit: Callable | None = None,  # (predictions, targets) to the loss
        metrics: Fns = (),  # each (predictions, targets) to a number
        clip: float | None = None,  # the longest that the gradient may be
        reg_fn: Callable | None = None,  # (out, extra, loss) to what is minimised in its place
    ) -> None:
        self.data = data
        self.module = _model_on_device(model)
        self.opt_fn = opt_fn or SGD_Momentum(0.9)
        self.crit = crit
        self.metrics = list(metrics)
        self.clip = clip
        self.reg_fn = reg_fn
        self._sched: Sched | None = None

    @property
    def sched(self) -> Sched:
        """The last `fit` or `lr_find`: rates and losses, with their plots; RuntimeError before."""
        if self._sched is None:
            raise RuntimeError("nothing to show yet: call fit or lr_find first")
        return self._sched

    @property
    def model(self) -> nn.Module:
        """What `fit` and `predict` run."""
        return self.module

    @property
    def batches(self) -> Any:
        """The loaders that `fit` and `predict` use."""
        return self.data

    def get_layer_groups(self) -> list[nn.Module]:
        """What can be frozen or given a rate, first to last: see `layer_groups`."""
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
        for layer in self.module.modules():
            if isinstance(layer, _NormBase):
                layer.bn_freeze = do_freeze  # type: ignore[assignment]  # typed for tensors only

    def fit(
        self,
        lrs: Floats,
        n_cycle: int,
        wds: Floats | None = None,
        cycle_len: int | None = None,
        cycle_mult: int = 1,
        metrics: Fns | None = None,
        cycle_save_name: str | None = None,
        best_save_name: str | None = None,
        use_clr: Sequence[float] | None = None,
        use_clr_beta: Sequence[float] | None = None,
        callbacks: Sequence[Any] | None = None,
    ) -> list[float]:
        """Train n_cycle epochs at a constant rate, or, given a cycle_len, cycles of that many.

        In a cycle the rate falls along a cosine (`rates.sgdr`), or as `use_clr` (see
        `rates.circular`) or `use_clr_beta` (`rates.circular_beta`) say, each two numbers, or four
        with the highest and lowest momentum. Each cycle is cycle_mult times as long as the last.

        `lrs`, `wds`: a number, or one for each layer group. `cycle_save_name`: see `save_cycle`;
        `best_save_name`: see `SaveBest`; `callbacks`: see `Callback`. Returns the last [validation
        loss, metrics…]. ValueError for settings that do not fit.
        """
        crit = self._loss()
        metrics = self.metrics if metrics is None else metrics
        cycle_mult = _whole("cycle_mult", cycle_mult)
        epochs = _epochs_of_cycles(n_cycle, cycle_len, cycle_mult)
        n_batches = _length(self.batches.trn_dl)
        lengths = [n_batches * n for n in epochs]
        in_cycles = cycle_len is not None
        plan = _plan(lengths[0], cycle_mult, use_clr, use_clr_beta, in_cycles=in_cycles)
        save = partial(self._save_after_cycle, cycle_save_name) if cycle_save_name else None
        sched = self._sched = Sched(self._optimizer(lrs, wds), plan, save, lengths)
        listeners = [sched, *(callbacks or [])]
        if best_save_name:
            listeners.append(self._save_best(best_save_name, metrics))
        n = sum(epochs)
        return fit(self.model, self.batches, n, sched.opt, crit, metrics, listeners, self.reg_fn)

    def lr_find(
        self,
        start_lr: Floats = 1e-5,
        end_lr: float = 10,
        wds: Floats | None = None,
        num_it: int = 100,
    ) -> None:
        """Raise the rate to `end_lr` in an epoch, or in num_it batches if that is more.

        Stops where the loss blows up, and leaves the weights as they were. Read the result with
        `sched.plot()` (Smith, 2015, arXiv:1506.01186).
        """
        crit = self._loss()
        opt = self._optimizer(start_lr, wds)
        top = float(np.max(start_lr))
        if not 0 < top < end_lr:
            raise ValueError(f"lr_find needs 0 < start_lr < end_lr, not {top:g} and {end_lr:g}")
        trn_dl = _of_length(self.batches.trn_dl, num_it)
        self._sched = LRFinder(opt, rates.exponential(len(trn_dl), end_lr / top))
        before = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        try:
            fit(self.model, Loaders(trn_dl), 1, opt, crit, [], [self._sched], self.reg_fn)
        finally:
            self.model.load_state_dict(before)

    def _loss(self) -> Callable:
        if self.crit is None:
            raise ValueError("the Learner has no loss: make it with crit=F.cross_entropy, say")
        return self.crit

    def _optimizer(self, lrs: Floats, wds: Floats | None) -> optim.Optimizer:
        opt = LayerOptimizer(self.opt_fn, self.get_layer_groups(), lrs, wds).opt
        if self.clip:
            opt.register_step_pre_hook(partial(_clip, self.clip))
        return opt

    def _save_after_cycle(self, name: str, sched: Sched, cycle: int) -> None:
        self.save_cycle(name, cycle)

    def _save_best(self, name: str, metrics: Fns) -> SaveBest:
        lower_is_better = bool(metrics) and (falls(metrics[0]) or metrics[0] is self.crit)
        return SaveBest(partial(self.save, name), lower_is_better)

    def save(self, name: str) -> None:
        """Write the weights of the whole model to models/NAME.pt, whole or not at all.

        In `work_dir` of the data. ValueError for a name that leads out of models.
        """
        models = work_dir(self.data.path) / "models"
        save_model(self.module, inside(models, os.path.normpath(f"{name}.pt")))

    def load(self, name: str) -> None:
        """Read weights that `save` wrote; FileNotFoundError that lists what there is."""
        plain = os.path.normpath(f"{name}.pt")
        inside(work_dir(self.data.path) / "models", plain)  # else a ValueError
        file = work_file(self.data.path, f"models/{plain}")
        if not file.exists():
            found = [p for place in work_places(self.data.path) for p in place.glob("models/*.pt")]
            saved = ", ".join(sorted({p.stem for p in found})) or "nothing"
            raise FileNotFoundError(f"{file}: not saved yet (saved here: {saved})")
        load_model(self.module, file)

    def save_cycle(self, name: str, cycle: int) -> None:
        """Write models/NAME_cyc_CYCLE.pt, as fit(…, cycle_save_name=name) does after each cycle."""
        self.save(f"{name}_cyc_{cycle}")

    def load_cycle(self, name: str, cycle: int) -> None:
        """Read weights that `save_cycle` wrote."""
        self.load(f"{name}_cyc_{cycle}")

    def predict(self, is_test: bool = False) -> np.ndarray:
        """Predictions for the validation (or test) set in order: (n, c), log-probabilities."""
        return self.predict_with_targs(is_test)[0]

    def predict_with_targs(self, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`predict`, and the targets."""
        dl = _loader(self.batches, "test_dl" if is_test else "val_dl")
        return predict_with_targs(self.model, dl)

    def predict_dl(self, dl: Iterable) -> np.ndarray:
        """Predictions for any loader of the whole model's inputs, in its order.

        ValueError for one that shuffles: nobody could tell which prediction is whose.
        """
        if _shuffles(dl):
            raise ValueError(
                "predict_dl of a loader that shuffles: take one in order, such as data.fix_dl"
            )
        return predict_with_targs(self.module, dl)[0]

    def predict_array(self, arr: Any) -> np.ndarray:
        """Predictions for one batch of inputs, as an array or a tensor."""
        return predict_batch(self.module, to_device(T(arr)))

    def TTA(self, n_aug: int = 4, is_test: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Test time augmentation: (predictions, targets), the plain pictures' predictions first.

        Predictions are (ceil(n_aug / 4) + n_aug, n, c) log-probabilities, not averaged: take
        np.mean(np.exp(log_preds), 0). Used in lessons 1 and 2.
        """
        plain = _loader(self.data, "test_dl" if is_test else "val_dl")
        augmented = _loader(self.data, "test_aug_dl" if is_test else "aug_dl")
        preds, targs = predict_with_targs(self.module, plain)  # (n, c)
        n_plain = max(1, -(-n_aug // 4))  # rounded up
        passes = [preds] * n_plain
        for _ in range(n_aug):
            passes.append(self.predict_dl(augmented))
        return np.stack(passes), targs

    def summary(self, depth: int = 2) -> torchinfo.ModelStatistics:
        """Layers down to `depth`: output shape, number of parameters, and whether they train."""
        *xs, _ = next(iter(_loader(self.data, "val_dl")))
        return torchinfo.summary(
            self.module,
            input_data=[to_device(x[:1]) for x in xs],
            col_names=("output_size", "num_params", "trainable"),
            col_width=18,
            depth=depth,
            verbose=0,
        )


def _model_on_device(model: nn.Module) -> nn.Module:
    """The model on the device, filters with the channels last, which is faster."""
    model = model.to(DEVICE)
    if any(p.ndim == 5 for p in model.parameters()):  # a Conv3d has no such order
        return model
    return model.to(memory_format=torch.channels_last)


def _clip(longest: float, opt: optim.Optimizer, *_: Any) -> None:
    """Shorten the gradient of what is trained; what was frozen may still hold an old one."""
    trained = [p for group in opt.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(trained, longest)


def _shuffles(dl: Any) -> bool:
    """Whether a loader, ours or PyTorch's, gives the rows in an order of chance."""
    ours = bool(getattr(dl, "shuffle", False))
    pytorchs = isinstance(getattr(dl, "sampler", None), RandomSampler)
    return ours or pytorchs


def _loader(data: Any, name: str) -> Iterable:
    """The loader of this name; ValueError that says where it could come from."""
    dl = getattr(data, name, None)
    if dl is not None:
        return dl
    if "aug" in name:
        hint = ": TTA needs one of augmented pictures, as ImageClassifierData has"
    elif "test" in name:
        hint = ": name the test set when making it (test_name=…)"
    else:
        hint = ""
    raise ValueError(f"the data has no {name}{hint}")


def _length(dl: Any) -> int:
    """Batches an epoch, one at least, else ValueError."""
    try:
        n = len(dl)
    except TypeError:
        raise ValueError("trn_dl has no length, by which the rates are planned") from None
    if n == 0:
        raise ValueError("trn_dl has no batches: is it shorter than one, with drop_last?")
    return n


def _of_length(dl: Any, n: int) -> Any:
    """A loader of n batches, or of an epoch if that is more: it begins again where it ends."""
    n_epoch = _length(dl)
    if not isinstance(dl, BatchLoader):
        return Repeated(dl, max(n, n_epoch))
    longer = copy(dl)
    longer.passes = max(dl.passes, n * dl.bs / len(dl.dataset))
    return longer


class Repeated:
    """The first n batches of a loader that begins again where it ends."""

    def __init__(self, dl: Any, n: int) -> None:
        self.dl = dl
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator:
        n_passes = math.ceil(self.n / len(self.dl))
        return islice(chain.from_iterable(repeat(self.dl, n_passes)), self.n)


def _whole(name: str, value: float) -> int:
    """A setting as a whole number of 1 or more, else ValueError."""
    if value < 1 or value % 1 != 0:
        what = "n_cycle, cycle_len and cycle_mult are whole numbers of 1 or more"
        raise ValueError(f"{what}: {name} is {value}")
    return int(value)


def _epochs_of_cycles(n_cycle: int, cycle_len: int | None, cycle_mult: int) -> list[int]:
    """How many epochs each cycle takes; without cycle_len one, at a constant rate."""
    n_cycle = _whole("n_cycle", n_cycle)
    first = 1 if cycle_len is None else _whole("cycle_len", cycle_len)
    return [first * cycle_mult**k for k in range(n_cycle)]


def _plan(
    nb: int,
    cycle_mult: int,
    use_clr: Sequence[float] | None,
    use_clr_beta: Sequence[float] | None,
    *,
    in_cycles: bool,
) -> Schedule:
    """The rates of a `fit` whose first cycle has nb iterations."""
    if use_clr is not None and use_clr_beta is not None:
        raise ValueError("use_clr and use_clr_beta: give one of them")
    if use_clr is not None:
        div, cut_div, moms = _numbers_of("use_clr", "(div, cut_div)", use_clr)
        return rates.circular(nb, div, cut_div, moms, cycle_mult)
    if use_clr_beta is not None:
        div, pct, moms = _numbers_of("use_clr_beta", "(div, pct)", use_clr_beta)
        return rates.circular_beta(nb, div, pct, moms, cycle_mult)
    if in_cycles:
        return rates.sgdr(nb, cycle_mult)
    return rates.constant


def _numbers_of(
    name: str, two: str, values: Sequence[float]
) -> tuple[float, float, tuple[float, float] | None]:
    """(first, second, momenta or None), else ValueError."""
    numbers = np.atleast_1d(values).tolist()
    if len(numbers) == 2:
        first, second = numbers
        return first, second, None
    if len(numbers) == 4:
        first, second, high, low = numbers
        return first, second, (high, low)
    raise ValueError(
        f"{name} is {two}, or four numbers with the highest and lowest momentum, not {values}"
    )
