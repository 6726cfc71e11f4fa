"""Small things that every lesson needs: the device, seeds, tensors to arrays and back."""

import random
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
DEVICE = torch.accelerator.current_accelerator(check_available=True) or torch.device(
    "cpu"
)  # chosen once

torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it; no effect elsewhere
torch.set_flush_denormal(
    True
)  # Adam's averages of gradients that are 0 shrink to denormals, which are slow


def autocast() -> AbstractContextManager:
    """Mixed precision for a forward pass: bfloat16 on CUDA, nothing elsewhere."""
    return torch.autocast("cuda", torch.bfloat16) if DEVICE.type == "cuda" else nullcontext()


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and torch, so that the same seed gives the same numbers. Used in every lesson."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the videos draw from NumPy's global generator
    torch.manual_seed(seed)


def to_device(t: Tensor) -> Tensor:
    """`t` on `DEVICE`. CUDA sets the bytes aside at once, so the host need not wait for it; MPS does not."""
    return t.to(DEVICE, non_blocking=DEVICE.type == "cuda")


def as_tensor(a: Any) -> Tensor:
    """A tensor as it is; an array or a list as a copy, which its owner cannot change, of the same dtype."""
    return a if isinstance(a, Tensor) else torch.from_numpy(np.array(a))


def T(a: Any) -> Tensor:
    """Array, list or tensor to a tensor: integers become int64, other numbers float32."""
    t = as_tensor(a)
    return t.float() if t.is_floating_point() else t.long()


def V(x: Any, requires_grad: bool = False) -> Any:
    """`T`, on `DEVICE`; lists and tuples of arrays element by element. (No Variable needed now.)"""
    if isinstance(x, (list, tuple)) and np.ndim(x[0]):
        return [V(o, requires_grad) for o in x]
    return to_device(T(x)).requires_grad_(requires_grad)


VV = V


def to_np(x: Any) -> Any:
    """Tensor, or list or tuple of tensors, to NumPy on the CPU (bfloat16 as float32)."""
    if isinstance(x, (list, tuple)):
        return [to_np(o) for o in x]
    if not isinstance(x, Tensor):
        return np.asarray(x)
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()


def children(m: nn.Module) -> list[nn.Module]:
    """The direct children of a module, in order."""
    return list(m.children())


def get_cv_idxs(n: int, cv_idx: int = 0, val_pct: float = 0.2, seed: int = 42) -> np.ndarray:
    """Fold `cv_idx` of a random validation set: int(n * val_pct) of n row numbers, unsorted, those of the videos."""
    n_val = int(val_pct * n)
    return np.random.RandomState(seed).permutation(n)[cv_idx * n_val : (cv_idx + 1) * n_val]


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
