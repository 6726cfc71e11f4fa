"""The training loop: a step, an epoch, validation, prediction."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn.modules.batchnorm import _NormBase

from . import fits
from .callbacks import check_callbacks, tell
from .core import autocast, grad_scaler, to_device, to_np
from .denormals import without_denormals
from .memory import keep_freed_memory
from .optimizers import stepped_together
from .progress import EpochTable
from .rates import smooth
from .scores import is_mean_over_rows, loss_of, name_of, weight_of

__all__ = ["fit", "predict_with_targs", "train_mode", "validate"]

Fns = Sequence[Callable]  # metrics: each (predictions, targets) to a number


@dataclass
class Loaders:
    """What `fit` reads of its data."""

    trn_dl: Iterable
    val_dl: Iterable | None = None
    test_dl: Iterable | None = None


def fit(
    model: nn.Module,
    data: Any,
    n_epochs: int,
    opt: optim.Optimizer,
    crit: Callable,
    metrics: Fns | None = None,
    callbacks: Sequence[Any] | None = None,
    reg_fn: Callable | None = None,
) -> list[float]:
    """Train on data.trn_dl, and validate on data.val_dl, if there is one, after each epoch.

    `callbacks`: see `Callback`. `reg_fn(out, extra, loss)`: what to minimise in place of the loss;
    `extra` is what the model returns beside its predictions. Returns the last [validation loss,
    metrics…]. Used in lessons 5 and 6.
    """
    metrics = metrics or []
    callbacks = callbacks or []
    check_callbacks(callbacks)
    val_dl = getattr(data, "val_dl", None)
    names = [] if val_dl is None else ["val_loss", *map(name_of, metrics)]
    table = EpochTable(["trn_loss", *names], n_epochs)
    scaler = grad_scaler()
    recent: deque[Tensor] = deque(maxlen=1000)  # older losses weigh nothing in the average
    values: list[float] = []

    def step(xs: Sequence[Any], y: Any) -> Tensor:
        return train_step(model, xs, y, opt, crit, reg_fn, scaler)

    try:
        with without_denormals():
            tell(callbacks, "on_train_begin")
            tell(callbacks, "on_phase_begin")
            for epoch in range(n_epochs):
                losses, stop = train_epoch(model, table.track(data.trn_dl), step, callbacks)
                if stop or epoch == n_epochs - 1:
                    tell(callbacks, "on_phase_end")
                recent.extend(losses)
                if val_dl is not None:
                    values = validate(model, val_dl, crit, metrics)
                table.write([_average(recent), *values])
                if tell(callbacks, "on_epoch_end", values) or stop:
                    break
            tell(callbacks, "on_train_end")
        fits.keep(table.table)
    finally:
        table.draw()  # without the bar, also after an interruption
    return values


def train_epoch(
    model: nn.Module,
    batches: Iterable,
    step: Callable[[Sequence[Any], Any], Tensor],
    callbacks: Sequence[Any] = (),
) -> tuple[list[Tensor], bool]:
    """(the loss of each batch, whether a callback asks to stop)."""
    train_mode(model)
    tell(callbacks, "on_epoch_begin")
    losses = []
    for xs, y in _on_device(batches):
        tell(callbacks, "on_batch_begin")
        loss = step(xs, y)
        losses.append(loss)
        if tell(callbacks, "on_batch_end", loss):
            return losses, True
    if not losses:
        raise ValueError("an epoch without batches: the loader of the training set gives none")
    return losses, False


def train_step(
    model: nn.Module,
    xs: Sequence[Any],
    y: Any,
    opt: optim.Optimizer,
    crit: Callable,
    reg_fn: Callable | None,
    scaler: torch.amp.GradScaler,
) -> Tensor:
    """One step on a batch; its loss, without `reg_fn`, left on the device: reading stalls a GPU."""
    opt.zero_grad()
    out, extra = _forward(model, xs)
    loss = loss_of(crit, out, y)
    to_minimise = loss if reg_fn is None else reg_fn(out, extra, loss)
    scaler.scale(to_minimise).backward()
    scaler.unscale_(opt)  # who clips the gradients must see them as they are
    with stepped_together(opt):
        scaler.step(opt)
    scaler.update()
    return loss.detach().float()


@torch.no_grad()  # not inference_mode: a hidden state that the model keeps goes on into training
def validate(
    model: nn.Module, dl: Iterable, crit: Callable, metrics: Fns | None = None
) -> list[float]:
    """[mean loss, metrics…] of the whole set a loader walks through, in evaluation mode.

    The loss, and each metric that is a `mean_over_rows`, is computed batch by batch; the set is
    kept for other metrics only.
    """
    scores: list[MeanScore | SetScore] = [MeanScore(crit, np.float64)]
    for metric in metrics or []:
        if is_mean_over_rows(metric):
            scores.append(MeanScore(metric, np.float32))
        else:
            scores.append(SetScore(metric))
    for out, y in _outputs(model, dl):
        for score in scores:
            score.add(out, y)
    return [score.value() for score in scores]


class MeanScore:
    """A loss or metric of a set, as the mean of those of its batches, weighted by their rows.

    `precision`: of that mean. In float32 a share of n rows, times n, is the number of rows again:
    an accuracy is exact, and equal ones are equal.
    """

    def __init__(self, function: Callable, precision: type[np.floating]) -> None:
        self.function = function
        self.precision = precision
        self.values: list[Any] = []  # numbers, or tensors left on the device
        self.weights: list[Any] = []

    def add(self, out: Tensor, y: Any) -> None:
        """One more batch."""
        self.values.append(loss_of(self.function, out, y))
        self.weights.append(weight_of(self.function, y))

    def value(self) -> float:
        """Of all batches; read from the device here, once."""
        values = _numbers(self.values).astype(self.precision)
        weights = _numbers(self.weights).astype(self.precision)
        counted = weights > 0  # a batch of which nothing counts has no mean
        return float(np.average(values[counted], weights=weights[counted]))


class SetScore:
    """A metric of all predictions and targets at once, which are kept until then."""

    def __init__(self, metric: Callable) -> None:
        self.metric = metric
        self.outs: list[Tensor] = []
        self.targs: list[Tensor] = []

    def add(self, out: Tensor, y: Tensor) -> None:
        """One more batch."""
        self.outs.append(out)
        self.targs.append(y)

    def value(self) -> float:
        """Of all batches."""
        return float(self.metric(torch.cat(self.outs), torch.cat(self.targs)))


@torch.no_grad()
def predict_with_targs(model: nn.Module, dl: Iterable) -> tuple[np.ndarray, np.ndarray]:
    """(predictions, targets) of a model over a loader, in its order."""
    preds, targs = [], []
    for out, y in _outputs(model, dl):
        preds.append(out)
        targs.append(y)
    return to_np(torch.cat(preds)), to_np(torch.cat(targs))


@torch.no_grad()
def predict_batch(model: nn.Module, *xs: Tensor) -> np.ndarray:
    """Predictions of a model for one batch of its inputs."""
    eval_mode(model)
    out, _ = _forward(model, xs)
    return to_np(out)


def train_mode(model: nn.Module) -> None:
    """Training mode, but a frozen BatchNorm keeps its averages. Resets the model."""
    model.train()
    reset_state(model)
    for layer in model.modules():
        if isinstance(layer, _NormBase) and is_frozen(layer):
            layer.eval()


def is_frozen(norm: _NormBase) -> bool:
    """Whether a BatchNorm keeps its averages: by `bn_freeze`, or since its weights are frozen.

    One without weights is frozen if `freeze_to` has said so.
    """
    if getattr(norm, "bn_freeze", False):
        return True
    if norm.affine:
        return not norm.weight.requires_grad
    return not getattr(norm, "trainable", True)


def eval_mode(model: nn.Module) -> None:
    """Evaluation mode. Calls model.reset()."""
    model.eval()
    reset_state(model)


def reset_state(model: nn.Module) -> None:
    """Let a network that reads on from batch to batch forget what it has read."""
    reset = getattr(model, "reset", None)
    if reset is not None:
        reset()


def _forward(model: nn.Module, xs: Sequence[Any]) -> tuple[Tensor, list]:
    """(prediction in float32, whatever else the model returned)."""
    with autocast():
        out = model(*xs)
    extra: list = []
    if isinstance(out, tuple):
        out, *extra = out
    return out.float(), extra


def _outputs(model: nn.Module, dl: Iterable) -> Iterator[tuple[Tensor, Any]]:
    """(prediction, target) of each batch, in evaluation mode; ValueError if there is none."""
    eval_mode(model)
    n = 0
    for xs, y in _on_device(dl):
        out, _ = _forward(model, xs)
        yield out, y
        n += 1
    if n == 0:
        raise ValueError("nothing to predict: the loader gives no batch")


def _on_device(batches: Iterable) -> Iterator[tuple[list, Any]]:
    """(inputs, targets) of each batch, on the device, where PyTorch's own loader puts nothing."""
    keep_freed_memory()
    for batch in batches:
        *xs, y = [to_device(t) if isinstance(t, Tensor) else t for t in batch]
        yield xs, y


def _numbers(values: Sequence[Any]) -> np.ndarray:
    """Numbers, or tensors of no axes, as an array."""
    if isinstance(values[0], Tensor):
        return to_np(torch.stack([*values]))
    return np.array(values)


def _average(losses: Iterable[Tensor]) -> float:
    """What the videos print as trn_loss."""
    return smooth(torch.stack([*losses]).tolist())[-1]
