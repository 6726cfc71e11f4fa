"""Numbers below 1e-38, which are slow to compute with, are 0 while a network trains."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

__all__ = ["denormals_are_zero", "without_denormals"]


def denormals_are_zero() -> bool:
    """Whether this thread takes numbers too small for their usual form for 0, in NumPy as well."""
    return sys.float_info.min / 2 == 0


@contextmanager
def without_denormals() -> Iterator[None]:
    """Denormals are 0 in this block, in all threads that torch computes with; after it, as before.

    Adam's averages of a gradient that is always 0, such as that of a rare word, shrink to denormals
    and stay there. Its step takes twice as long then, on some processors ten times.
    """
    if denormals_are_zero():  # in a block around this one, or by the user's wish
        yield
        return
    _set_in_all_threads(True)
    try:
        yield
    finally:
        _set_in_all_threads(False)


def _set_in_all_threads(zero: bool) -> None:
    """Set it in this thread, and in those among which torch shares out a large operation.

    Each thread has a setting of its own, and `torch.set_flush_denormal` reaches its caller alone.
    OpenMP's threads may have started long ago, and stay. OpenMP itself calls a function in each of
    them: a C compiler makes `GOMP_parallel(function, …)` out of `#pragma omp parallel`.
    """
    torch.set_flush_denormal(zero)
    if torch.get_num_threads() > 1 and _gomp_parallel is not None:
        in_each_thread = _Function(lambda _: torch.set_flush_denormal(zero))
        _gomp_parallel(in_each_thread, None, 0, 0)  # its data: none; all threads; no options


_Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # in C: void function(void *data)


def _find_gomp_parallel() -> Callable | None:
    """That of torch's own OpenMP; None where torch has another, as on Windows."""
    try:
        return ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None


_gomp_parallel = _find_gomp_parallel()
