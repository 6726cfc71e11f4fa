"""The rows of each fit, an epoch each: kept for the record, drawn beside those of another run."""

from collections import deque
from collections.abc import Sequence
from io import StringIO

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

__all__ = ["as_csv", "draw", "keep", "take", "together"]

_waiting: deque[str] = deque(maxlen=20)  # for the stage that is recorded next


def keep(table: pd.DataFrame) -> None:
    """Keep the rows of a fit that has ended, if it validated: `lr_find` does not."""
    if "val_loss" in table and len(table):
        _waiting.append(as_csv(table))


def take() -> list[str]:
    """The fits since the last call, the oldest first, 20 at most."""
    fits = list(_waiting)
    _waiting.clear()
    return fits


def as_csv(table: pd.DataFrame) -> str:
    """A line of names, then one an epoch, five digits a number: small enough for a record."""
    return table.to_csv(index=False, float_format="%.5g", lineterminator="\n")


def together(fits: Sequence[str]) -> pd.DataFrame:
    """The epochs of fits one after the other, numbered from 1."""
    table = pd.concat([pd.read_csv(StringIO(fit)) for fit in fits], ignore_index=True)
    return table.set_index(pd.RangeIndex(1, len(table) + 1, name="epoch"))


def draw(runs: dict[str, Sequence[str]], column: str) -> Axes:
    """A curve for the fits of each run: that column against the epoch.

    ValueError if no run has such a column.
    """
    tables = {name: together(fits) for name, fits in runs.items()}
    names = list(dict.fromkeys(name for table in tables.values() for name in table))
    if column not in names:
        raise ValueError(f"no fit has {column!r}: use one of {', '.join(names)}")
    _, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name, table in tables.items():
        if column in table:
            ax.plot(table.index, table[column], marker=".", label=name)
    ax.set(xlabel="epoch", ylabel=column)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax
