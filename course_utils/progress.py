"""The table that grows by a row an epoch, with a progress bar under it."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
from IPython import get_ipython
from IPython.display import display

__all__ = ["EpochTable"]


class EpochTable:
    """Rows of numbers, one an epoch, and the seconds it took.

    In a notebook a table, redrawn in place, once a second at most; elsewhere a line of text each.
    """

    def __init__(self, names: Sequence[str], n_epochs: int) -> None:
        self.table = pd.DataFrame(columns=[*names, "seconds"], dtype=float)
        self.formats = dict.fromkeys(names, _number) | {"seconds": "{:.1f}".format}
        self.n_epochs = n_epochs
        self.started = time.perf_counter()  # when the epoch began
        self.drawn = 0.0  # when the table was last drawn
        self.bar = ""
        self.handle: Any = display(self, display_id=True) if _in_a_notebook() else None

    def track(self, batches: Iterable) -> Iterator:
        """Yield the batches of one epoch and move the bar."""
        self.started = time.perf_counter()
        for i, batch in enumerate(batches):
            if time.perf_counter() - self.drawn > 1:
                epoch = f"epoch {len(self.table) + 1} of {self.n_epochs}"
                self.draw(f"{epoch} {_bar(i, batches)}")
            yield batch

    def write(self, values: Iterable[float]) -> None:
        """Add the row of an epoch."""
        seconds = time.perf_counter() - self.started
        self.table.loc[len(self.table)] = [*values, seconds]
        self.draw()
        if self.handle is None:
            print(self._last_lines())

    def draw(self, bar: str = "") -> None:
        """Show the table as it is, with `bar` under it."""
        self.bar = bar
        self.drawn = time.perf_counter()
        if self.handle is not None:
            self.handle.update(self)

    def _last_lines(self) -> str:
        """What an epoch adds to the text: its row, the first one under the names."""
        text = repr(self)
        return text if len(self.table) == 1 else text.splitlines()[-1]

    def _repr_html_(self) -> str:
        return self.table.to_html(border=0, formatters=self.formats) + self.bar

    def __repr__(self) -> str:
        return self.table.to_string(formatters=self.formats, col_space=10)


def _in_a_notebook() -> bool:
    """Whether a kernel runs this, which can replace what it has shown."""
    return getattr(get_ipython(), "kernel", None) is not None


def _number(value: float) -> str:
    return f"{value:.5f}" if abs(value) < 1e4 else f"{value:.1e}"  # it blew up


def _bar(i: int, batches: Iterable) -> str:
    """A bar after i batches; the number alone where nobody knows how many there will be."""
    try:
        n = len(batches)  # type: ignore[arg-type]  # asked, to find out
    except TypeError:
        return str(i)
    return f"<progress value={i} max={n}></progress> {i}/{n}"
