"""The table that grows by a row an epoch, with a progress bar under it."""

import time
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
from IPython import get_ipython
from IPython.display import display

__all__ = ["EpochTable"]


class EpochTable:
    """Rows of numbers: HTML redrawn in place in a notebook, once a second at most, and text elsewhere."""

    def __init__(self, names: Sequence[str], n_epochs: int) -> None:
        self.table, self.n_epochs = pd.DataFrame(columns=[*names, "seconds"], dtype=float), n_epochs
        self.bar, self.drawn = "", 0.0
        self.formats: dict = dict.fromkeys(
            names, lambda v: f"{v:.5f}" if abs(v) < 1e4 else f"{v:.1e}"
        )  # it blew up
        self.formats["seconds"] = "{:.1f}".format
        self.handle = (
            display(self, display_id=True) if getattr(get_ipython(), "kernel", None) else None
        )

    def track(self, batches: Iterable) -> Iterator:
        """Yield the batches of one epoch and move the bar."""
        self.start = time.perf_counter()
        for i, batch in enumerate(batches):
            if time.perf_counter() - self.drawn > 1:
                bar = f"<progress value={i} max={len(batches)}></progress> {i}/{len(batches)}"
                self.draw(f"epoch {len(self.table) + 1} of {self.n_epochs} {bar}")
            yield batch

    def write(self, values: Iterable[float]) -> None:
        """Add the row of an epoch."""
        self.table.loc[len(self.table)] = [*values, time.perf_counter() - self.start]
        self.draw()
        if self.handle is None:
            print(repr(self) if len(self.table) == 1 else repr(self).splitlines()[-1])

    def draw(self, bar: str = "") -> None:
        """Show the table as it is, with `bar` under it."""
        self.bar, self.drawn = bar, time.perf_counter()
        if self.handle:
            self.handle.update(self)

    def _repr_html_(self) -> str:
        return self.table.to_html(border=0, formatters=self.formats) + self.bar

    def __repr__(self) -> str:
        return self.table.to_string(formatters=self.formats, col_space=10)
