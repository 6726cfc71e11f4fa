"""Rates and momentum as functions of the iteration (`nb` to the first cycle)."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

__all__ = ["circular", "circular_beta", "constant", "exponential", "sgdr", "smooth"]


Schedule = Callable[
    [int], tuple[float, float | None]
]  # 0, 1, … to (factor of the base rates, momentum or None)


def exponential(nb: int, ratio: float) -> Schedule:
    """From 1 to `ratio` in nb iterations, by equal factors."""
    return lambda i: (ratio ** (i / nb), None)


constant = exponential(1, 1)  # the base rate, always


def sgdr(nb: int, cycle_mult: int = 1) -> Schedule:
    """Cosine annealing with warm restarts (arXiv:1608.03983), after nb / 20 iterations at 1/100, as in the videos."""

    if nb < 1 or cycle_mult < 1:
        raise ValueError(
            f"a cycle has 1 iteration or more, and does not shrink: not {nb}, times {cycle_mult}"
        )

    def factor(i: int) -> tuple[float, None]:
        if i < nb / 20:
            return 0.01, None
        length = nb
        while i >= length:
            i, length = i - length, length * cycle_mult
        return (1 + math.cos(math.pi * i / length)) / 2, None

    return factor


def circular(
    nb: int, div: float, cut_div: float, moms: tuple[float, float] | None = None
) -> Schedule:
    """Slanted triangle (arXiv:1506.01186): 1/div to 1 in nb // cut_div iterations, and back; momentum the reverse."""
    return _piecewise([0, max(nb // cut_div, 1), nb], [1 / div, 1, 1 / div], moms)


def circular_beta(
    nb: int, div: float, pct: float, moms: tuple[float, float] | None = None
) -> Schedule:
    """One cycle (arXiv:1803.09820): 1/div to 1 to 1/div, to 1/(100 div) in the last `pct` %; momentum the reverse."""
    half = int(nb * (1 - pct / 100) / 2)
    return _piecewise([0, half, 2 * half, nb], [1 / div, 1, 1 / div, 1 / div / 100], moms)


def _piecewise(at: list[int], factors: list[float], moms: tuple[float, float] | None) -> Schedule:
    """Straight lines through (at, factors), over and over; momentum from moms[0] to moms[1], at[1], and back."""
    turns = moms and [moms[0], moms[1], *[moms[0]] * (len(at) - 2)]
    return lambda i: tuple(ys and float(np.interp(i % at[-1], at, ys)) for ys in (factors, turns))


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Average that forgets 2 % a step, corrected for its start: what the videos print as trn_loss."""
    return pd.Series(losses, dtype=float).ewm(alpha=0.02).mean().to_numpy()
