"""Lesson 3 from CSV files to arrays: seconds, memory, what `get_elapsed` gains over a loop.

What is timed are the cells of nbs/lesson3-rossmann.ipynb that are tagged "tables".
"""

import os
import tempfile
import time
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from course_utils.frames import get_elapsed
from course_utils.provenance import peak_memory_gb

from tools.bench.measure import made
from tools.cells import tagged
from tools.report.records import Elapsed, Limits, Tables
from tools.run import NOTEBOOKS

__all__ = ["elapsed", "measure", "prepare", "report"]

NOTEBOOK = NOTEBOOKS / "lesson3-rossmann.ipynb"
LIMITS = Limits(seconds=40, memory_gb=4, times_a_loop=20)


def measure(size: str) -> Tables:
    """The record. Memory is the peak of the process: call it in a fresh one."""
    names, seconds = prepare(size)
    memory_gb = peak_memory_gb()
    return Tables(
        **made(),
        size=size,
        rows=len(names["table"]),
        seconds=round(seconds, 1),
        memory_gb=round(memory_gb, 2),
        elapsed=elapsed(names),
        limits=LIMITS,
    )


def prepare(size: str) -> tuple[dict[str, Any], float]:
    """What the tagged cells leave behind, and the seconds that they take without the imports."""
    names: dict[str, Any] = {"SIZE": size, "SEED": 0}
    with tempfile.TemporaryDirectory() as records:
        os.environ["COURSE_RESULTS"] = records
        imports, *cells = tagged(NOTEBOOK, "tables")
        exec(imports, names)
        start = time.perf_counter()
        for cell in cells:
            exec(cell, names)
        names["get_data_for"](names["splits"]["window 2014"])
        return names, time.perf_counter() - start


def elapsed(names: dict[str, Any]) -> Elapsed:
    """Seconds for all shops, fields and both directions. ValueError if the two disagree."""
    days = pd.concat([names["train"], names["test"]])[["Store", "Date", *names["fields"]]]
    whole = loop = 0.0
    for ascending, field in product((True, False), names["fields"]):
        days = days.sort_values(["Store", "Date"], ascending=[True, ascending])
        start = time.perf_counter()
        get_elapsed(days, field, "Days")
        between = time.perf_counter()
        by_loop: list[float] = []
        for _, shop in days.groupby("Store"):
            by_loop += names["elapsed_loop"](shop, field)
        end = time.perf_counter()
        whole += between - start
        loop += end - between
        if not np.array_equal(days.pop(f"Days{field}"), by_loop, equal_nan=True):
            raise ValueError(f"get_elapsed and the loop disagree about {field}")
    return Elapsed(round(whole, 2), round(loop, 2))


def report(record: Tables) -> str:
    """Three lines for people: what was measured beside its limit."""
    limits, took = record.limits, record.elapsed
    gain = took.loop / took.whole_columns if took.whole_columns else float("inf")
    return (
        f"{record.rows:,} rows from CSV files to arrays: {record.seconds} s "
        f"(limit {limits.seconds:g})\n"
        f"peak memory: {record.memory_gb} GB (limit {limits.memory_gb:g})\n"
        f"get_elapsed: {took.whole_columns} s, a loop of rows {took.loop} s: "
        f"{gain:.0f} times (at least {limits.times_a_loop:g}), equal"
    )
