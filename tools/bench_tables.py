"""Seconds and memory from the CSV files of lesson 3 to arrays, and what `get_elapsed` gains over a loop of rows.

`python -m tools.bench_tables --size full` runs the cells of nbs/lesson3-rossmann.ipynb that are tagged "tables" in a
fresh process, and writes results/bench-tables.json.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from course_utils.files import atomic
from course_utils.tabular import get_elapsed
from tools.bench_images import ROOT, apart, provenance

__all__ = ["elapsed", "main", "measure", "prepare", "report", "tagged"]

NOTEBOOK = ROOT / "nbs" / "lesson3-rossmann.ipynb"
LIMITS = {"seconds": 40, "memory_gb": 4, "times_a_loop": 20}


def tagged(notebook: Path, tag: str) -> list[str]:
    """The sources of the code cells that have this tag, in the order of the notebook."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if tag in c["metadata"].get("tags", [])]


def prepare(size: str) -> tuple[dict[str, Any], dict[str, float]]:
    """What the tagged cells leave behind, and {"rows", "seconds", "memory_gb"}; memory is the peak of the process."""
    names: dict[str, Any] = {"SIZE": size, "SEED": 0}
    with tempfile.TemporaryDirectory() as records:
        os.environ["COURSE_RESULTS"] = records
        imports, *cells = tagged(NOTEBOOK, "tables")
        exec(imports, names)  # not part of the time
        start = time.perf_counter()
        for cell in cells:
            exec(cell, names)
        names["get_data_for"](names["splits"]["window 2014"])
    seconds, peak = (
        time.perf_counter() - start,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )
    return names, {
        "rows": len(names["table"]),
        "seconds": round(seconds, 1),
        "memory_gb": round(peak, 2),
    }


def elapsed(names: dict[str, Any]) -> dict[str, float]:
    """{"whole_columns", "loop"}: seconds for all shops, fields and both directions. ValueError if they disagree."""
    days = pd.concat([names["train"], names["test"]])[["Store", "Date", *names["fields"]]]
    whole = loop = 0.0
    for ascending, field in product((True, False), names["fields"]):
        days = days.sort_values(["Store", "Date"], ascending=[True, ascending])
        start = time.perf_counter()
        get_elapsed(days, field, "Days")
        between = time.perf_counter()
        by_loop = [
            n for _, shop in days.groupby("Store") for n in names["elapsed_loop"](shop, field)
        ]
        whole, loop = whole + between - start, loop + time.perf_counter() - between
        if not np.array_equal(days.pop(f"Days{field}"), by_loop, equal_nan=True):
            raise ValueError(f"get_elapsed and the loop disagree about {field}")
    return {"whole_columns": round(whole, 2), "loop": round(loop, 2)}


def measure(size: str) -> dict[str, Any]:
    """What the record holds: {"rows", "seconds", "memory_gb", "elapsed"}. Call it `apart`."""
    names, numbers = prepare(size)
    return numbers | {"elapsed": elapsed(names)}


def report(record: dict[str, Any]) -> str:
    """Three lines for people: what was measured beside its limit."""
    counted = record["elapsed"]
    gain = counted["loop"] / counted["whole_columns"]
    return (
        f"{record['rows']:,} rows from CSV files to arrays: {record['seconds']} s (limit {LIMITS['seconds']})\n"
        f"peak memory: {record['memory_gb']} GB (limit {LIMITS['memory_gb']})\n"
        f"get_elapsed: {counted['whole_columns']} s, a loop of rows {counted['loop']} s: "
        f"{gain:.0f} times (at least {LIMITS['times_a_loop']}), equal"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write results/bench-tables.json, print; the exit code."""
    p = argparse.ArgumentParser(
        "python -m tools.bench_tables", description="Time the tables of lesson 3."
    )
    p.add_argument("--size", choices=["sample", "full"], default="sample")
    p.add_argument("--out", type=Path, default=ROOT / "results", metavar="DIR")
    args = p.parse_args(argv)
    record = provenance() | {"size": args.size} | apart(measure, args.size)
    with atomic(args.out / "bench-tables.json") as part:
        part.write_text(json.dumps(record | {"limits": LIMITS}, indent=1) + "\n", "utf-8")
    print(report(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
