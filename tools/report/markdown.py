"""Numbers and tables for the pages."""

import math
from collections.abc import Sequence

from tabulate import tabulate

__all__ = ["number", "numbers", "table"]


def number(value: float | None, digits: int = 4) -> str:
    """Integers, and 0, in full; other numbers with so many digits, wherever the point stands.

    Not as `course_utils.results_table` shows them, with the videos' four digits behind the point:
    here the columns of several runs are compared, and 0.0004 beside 0.0004 would say nothing.
    """
    if value is None:
        return ""
    if isinstance(value, int) or value == 0 or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def numbers(values: Sequence[float | None]) -> list[str]:
    """The cells of a row: whole numbers if all of them are, but for rounding."""
    there = [value for value in values if value is not None]
    if all(math.isclose(value, round(value)) for value in there):
        return [number(None if value is None else round(value)) for value in values]
    return [number(value) for value in values]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of cells that are text already."""
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)
