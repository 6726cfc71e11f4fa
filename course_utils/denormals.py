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
    """A thread has a setting of its own, and starts with that of the thread that starts it.

    Those of OpenMP, among which torch shares out its work, start with the first large operation,
    before training or in it, and go on to the end. So each is told, where Python can reach them.
    """
    torch.set_flush_denormal(zero)
    if torch.get_num_threads() > 1 and _in_parallel is not None:
        tell = _Body(lambda _: torch.set_flush_denormal(zero))
        _in_parallel(tell, None, 0, 0)


_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _find_in_parallel() -> Callable | None:
    """`#pragma omp parallel` of torch's OpenMP: f(body, data, 0, 0); None on Windows."""
    try:
        return ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None


_in_parallel = _find_in_parallel()
