"""The training loop: a step, an epoch, validation, prediction."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn.modules.batchnorm import _BatchNorm

from .callbacks import Callback
from .core import autocast, to_np
from .progress import EpochTable
from .rates import smooth

__all__ = ["fit", "predict_with_targs", "train_mode", "validate"]

Fns = Sequence[Callable]


def train_mode(model: nn.Module) -> None:
    """Training mode, but BatchNorm that is frozen, or under `bn_freeze`, keeps its statistics. Calls model.reset()."""
    getattr(model.train(), "reset", bool)()
    for m in model.modules():
        if isinstance(m, _BatchNorm) and (
            getattr(m, "bn_freeze", False) or (m.affine and not m.weight.requires_grad)
        ):
            m.eval()


def _forward(model: nn.Module, xs: Sequence[Tensor]) -> tuple[Tensor, list]:
    """(prediction in float32, whatever else the model returned)."""
    with autocast():
        out = model(*xs)
    out, *extra = out if isinstance(out, tuple) else (out,)
    return out.float(), extra


def _outputs(model: nn.Module, dl: Iterable) -> Iterator[tuple[Tensor, Tensor]]:
    """(prediction, target) of each batch, in evaluation mode."""
    getattr(model.eval(), "reset", bool)()
    for *xs, y in dl:
        yield _forward(model, xs)[0], y


@torch.no_grad()  # not inference_mode: a hidden state that the model keeps goes on into training
def validate(model: nn.Module, dl: Iterable, crit: Callable, metrics: Fns = ()) -> list[float]:
    """[mean loss, metrics…] of the whole set a loader walks through, in evaluation mode."""
    rows = [(crit(out, y), len(y), (out, y) if metrics else ()) for out, y in _outputs(model, dl)]
    losses, sizes, kept = zip(*rows, strict=True)
    preds_targs = [torch.cat(column) for column in zip(*kept, strict=True)]
    return [
        float(np.average(to_np(torch.stack(losses)), weights=sizes)),
        *(float(m(*preds_targs)) for m in metrics),
    ]


@torch.no_grad()
def predict_with_targs(model: nn.Module, dl: Iterable) -> tuple[np.ndarray, np.ndarray]:
    """(predictions, targets) of a model over a loader, in its order."""
    preds, targs = zip(*_outputs(model, dl), strict=True)
    return to_np(torch.cat(preds)), to_np(torch.cat(targs))


def fit(model: nn.Module, data: Any, n_epochs: int, opt: optim.Optimizer, crit: Callable, metrics: Fns = (),
        callbacks: Sequence[Callback] = (), reg_fn: Callable | None = None) -> list[float]:  # fmt: skip
    """Train on data.trn_dl; the last [validation loss, metrics…]. `reg_fn(out, extra, loss)`: its loss to minimise."""
    names = (
        ["trn_loss"]
        if data.val_dl is None
        else ["trn_loss", "val_loss", *(m.__name__ for m in metrics)]
    )
    table = EpochTable(names, n_epochs)
    losses, values, stops = [], [], []
    try:
        for _ in range(n_epochs):
            train_mode(model)
            for *xs, y in table.track(data.trn_dl):
                for cb in callbacks:
                    cb.on_batch_begin()
                opt.zero_grad()
                out, extra = _forward(model, xs)
                loss = crit(out, y)
                (reg_fn(out, extra, loss) if reg_fn else loss).backward()
                opt.step()
                losses.append(loss.detach().float())  # on the device: reading it would stall a GPU
                if any(stops := [cb.on_batch_end(losses[-1]) for cb in callbacks]):
                    break
            values = [] if data.val_dl is None else validate(model, data.val_dl, crit, metrics)
            table.write(
                [smooth(torch.stack(losses[-1000:]).tolist())[-1], *values]
            )  # the older weigh nothing
            if any(stops + [cb.on_epoch_end(values) for cb in callbacks]):
                break
    finally:
        table.draw()  # without the bar, also after an interruption
    return values
