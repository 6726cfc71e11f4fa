"""Rates and momentum as functions of the iteration.

`nb`: the iterations of the first cycle; each later one is `cycle_mult` times as long as the one
before. `moms`: the highest and the lowest momentum; without them it stays as it is.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = ["circular", "circular_beta", "constant", "exponential", "sgdr", "smooth"]


class Step(NamedTuple):
    """What an optimizer is set to before a batch."""

    factor: float  # of the base rates
    momentum: float | None = None  # None: leave it as it is


Schedule = Callable[[int], Step]  # of the iteration: 0, 1, …


def constant(i: int) -> Step:
    """The base rate, always."""
    return Step(1.0)


def exponential(nb: int, ratio: float) -> Schedule:
    """From 1 to `ratio` in nb iterations, by equal factors."""
    return lambda i: Step(ratio ** (i / nb))


def sgdr(nb: int, cycle_mult: int = 1) -> Schedule:
    """Cosine annealing with warm restarts (arXiv:1608.03983).

    As in the videos, the first nb / 20 iterations of all are at 1/100 of the rate. ValueError for
    a cycle that would never end.
    """
    _check_cycles(nb, cycle_mult)

    def step(i: int) -> Step:
        if i < nb / 20:
            return Step(0.01)
        i, length = _in_cycle(i, nb, cycle_mult)
        return Step((1 + math.cos(math.pi * i / length)) / 2)

    return step


def circular(
    nb: int,
    div: float,
    cut_div: float,
    moms: tuple[float, float] | None = None,
    cycle_mult: int = 1,
) -> Schedule:
    """A slanted triangle in each cycle (arXiv:1506.01186, arXiv:1801.06146).

    From 1/div to 1 in 1/cut_div of the cycle, and back; momentum the reverse way.
    """
    if not (div > 0 and cut_div >= 1):
        raise ValueError(f"div must be above 0 and cut_div 1 or more, not {div} and {cut_div}")
    factors = [1 / div, 1, 1 / div]

    def knots(length: int) -> list[float]:
        top = max(length // cut_div, 1)
        return [0, top, length]

    return _lines(nb, cycle_mult, knots, factors, moms)


def circular_beta(
    nb: int, div: float, pct: float, moms: tuple[float, float] | None = None, cycle_mult: int = 1
) -> Schedule:
    """One cycle (arXiv:1803.09820): 1/div to 1 and back, to 1/(100 div) in the last `pct` %.

    Momentum goes the reverse way, and is back before the last `pct` %.
    """
    if not (div > 0 and 0 <= pct <= 100):
        raise ValueError(f"div must be above 0 and pct from 0 to 100, not {div} and {pct}")
    factors = [1 / div, 1, 1 / div, 1 / div / 100]

    def knots(length: int) -> list[float]:
        half = int(length * (1 - pct / 100) / 2)
        return [0, half, 2 * half, length]

    return _lines(nb, cycle_mult, knots, factors, moms)


def _lines(
    nb: int,
    cycle_mult: int,
    knots: Callable[[int], list[float]],
    factors: list[float],
    moms: tuple[float, float] | None,
) -> Schedule:
    """In each cycle, lines through (knots(length of the cycle), factors).

    The momentum is the lowest at the second knot, the highest at the others.
    """
    _check_cycles(nb, cycle_mult)
    momenta = None
    if moms is not None:
        high, low = moms
        if not (0 <= low < 1 and 0 <= high < 1):
            raise ValueError(f"a momentum lies between 0 and 1, unlike one of {high} and {low}")
        momenta = [high, low, *[high] * (len(factors) - 2)]

    def step(i: int) -> Step:
        i, length = _in_cycle(i, nb, cycle_mult)
        at = knots(length)
        factor = float(np.interp(i, at, factors))
        momentum = None if momenta is None else float(np.interp(i, at, momenta))
        return Step(factor, momentum)

    return step


def _in_cycle(i: int, nb: int, cycle_mult: int) -> tuple[int, int]:
    """(place of iteration i in its cycle, length of that cycle); the first has nb iterations."""
    if cycle_mult == 1:
        return i % nb, nb
    length = nb
    while i >= length:
        i -= length
        length *= cycle_mult
    return i, length


def _check_cycles(nb: int, cycle_mult: int) -> None:
    if nb < 1 or cycle_mult < 1:
        raise ValueError(
            f"a cycle has 1 iteration or more, and does not shrink: not {nb}, times {cycle_mult}"
        )


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Average that forgets 2 % a step, corrected for its start: the trn_loss of the videos."""
    return pd.Series(losses, dtype=float).ewm(alpha=0.02).mean().to_numpy()
