"""Small things that every lesson needs: the device, seeds, tensors to arrays and back."""

import random
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .files import ROOT as ROOT  # lessons import both from here
from .files import work_dir

__all__ = [
    "DEVICE",
    "VV",
    "T",
    "V",
    "children",
    "get_cv_idxs",
    "set_seed",
    "split_by_idx",
    "to_np",
    "work_dir",
]


def fast_precision(device: torch.device) -> torch.dtype:
    """The numbers that a forward pass on `device` is fastest in, of those that training bears.

    bfloat16 on GPUs of compute capability 8.0 (Ampere) or later: older ones only emulate it.
    float16, with the loss scaled (`grad_scaler`), on 7.0 (V100) and 7.5 (T4). float32 on GPUs
    before those, and on everything else.
    """
    if device.type != "cuda":
        return torch.float32
    generation, _ = torch.cuda.get_device_capability(device)
    if generation >= 8:
        return torch.bfloat16
    if generation == 7:
        return torch.float16
    return torch.float32


# Chosen once: CUDA or MPS where there is one, else the CPU.
DEVICE = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
PRECISION = fast_precision(DEVICE)  # of forward passes; weights and losses stay in float32

torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it; no effect elsewhere


def autocast() -> AbstractContextManager:
    """For a forward pass: what gains by it runs in `PRECISION`."""
    if PRECISION is torch.float32:
        return nullcontext()
    return torch.autocast(DEVICE.type, PRECISION)


def grad_scaler() -> torch.amp.GradScaler:
    """Multiplies the loss, so that small gradients do not become 0 in float16 (arXiv:1710.03740).

    In other precisions there is no need, and its methods leave everything as it is.
    """
    return torch.amp.GradScaler(DEVICE.type, enabled=PRECISION is torch.float16)


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and torch: the same seed gives the same numbers. Used in every lesson."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the videos draw from NumPy's global generator
    torch.manual_seed(seed)


def to_device(t: Tensor) -> Tensor:
    """`t` on `DEVICE`; itself, if it is there."""
    # CUDA sets the bytes aside at once, so the host need not wait for it; MPS does not.
    return t.to(DEVICE, non_blocking=DEVICE.type == "cuda")


def as_tensor(a: Any) -> Tensor:
    """A tensor as it is; of an array or a list a copy, safe from its owner, of the same dtype."""
    return a if isinstance(a, Tensor) else torch.from_numpy(np.array(a))


def T(a: Any) -> Tensor:
    """Array, list or tensor to a tensor: integers become int64, other numbers float32."""
    t = as_tensor(a)
    return t.float() if t.is_floating_point() else t.long()


def V(x: Any, requires_grad: bool = False) -> Any:
    """`T`, on `DEVICE`; lists and tuples of arrays element by element. (No Variable needed now.)

    Given a tensor, the result is another one, without the history of the first, which stays as it
    is. The two share their numbers where those need no copy.
    """
    if isinstance(x, (list, tuple)) and len(x) and np.ndim(x[0]):
        return [V(o, requires_grad) for o in x]
    return to_device(T(x)).detach().requires_grad_(requires_grad)


VV = V


def to_np(x: Any) -> Any:
    """Tensor, or list or tuple of tensors, to NumPy on the CPU (bfloat16 as float32).

    The array of a tensor on the CPU is a view, as in PyTorch: writing to it changes the tensor.
    """
    if isinstance(x, (list, tuple)):
        return [to_np(o) for o in x]
    if not isinstance(x, Tensor):
        return np.asarray(x)
    x = x.detach().cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


def children(m: nn.Module) -> list[nn.Module]:
    """The direct children of a module, in order."""
    return list(m.children())


def get_cv_idxs(n: int, cv_idx: int = 0, val_pct: float = 0.2, seed: int = 42) -> np.ndarray:
    """Fold `cv_idx` of a random validation set: int(n * val_pct) of n row numbers, unsorted.

    The numbers are those of the videos. Used in lessons 2, 3 and 5.
    """
    n_val = int(val_pct * n)
    shuffled = np.random.RandomState(seed).permutation(n)
    return shuffled[cv_idx * n_val : (cv_idx + 1) * n_val]


def split_by_idx(idxs: Iterable[int], *arrays: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split each array into (the rows in `idxs`, the rest), both in its own order.

    `idxs`: row numbers, or a True or False for each row. IndexError for a row that is not there,
    ValueError for one given twice, as in a column of 0 and 1.
    """
    rows = list(idxs)
    mask = np.zeros(len(arrays[0]), bool)
    mask[rows] = True
    if mask.sum() < len(rows) and not isinstance(rows[0], (bool, np.bool_)):
        raise ValueError("a row of val_idxs is given twice: give row numbers, or True and False")
    return [(a[mask], a[~mask]) for a in arrays]
