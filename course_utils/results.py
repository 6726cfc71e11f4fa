"""Results of a lesson, written by the run that makes them. Used in every lesson."""

import json
import math
import os
import time
from numbers import Real
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from .beside import real_runs, words_of
from .choose import choose
from .core import DEVICE, set_seed
from .files import ROOT, SIZES, atomic, inside
from .fits import draw, take
from .provenance import peak_memory_gb, provenance
from .result_lines import Line, ResultsTable, show

__all__ = ["begin", "compare_fits", "record", "results_table"]


_run: dict[str, Any] = {}  # what `begin` opened and `record` adds to: one run a process
_clock = {"begin": 0.0}  # when it was opened


def begin(lesson: str, size: str = "sample", seed: int = 42, data: Path | None = None) -> None:
    """Open the record of this run and seed it; `data`: the folder whose files it is made from.

    ValueError for an unknown size, or a lesson whose record would lie elsewhere ("../lesson1").
    """
    choose("size", size, SIZES)
    inside(_folder(), lesson)
    _clock["begin"] = time.perf_counter()
    _run.update({"lesson": lesson, "size": size, "seed": seed, **provenance(data), "stages": []})
    set_seed(seed)
    take()  # fits of an earlier run
    _write()


def record(name: str, value: float) -> None:
    """Add a stage, a new name with a finite number, to COURSE_RESULTS/LESSON.SIZE.DEVICE.json.

    A notebook shows it in a line, with what is known beside it (`result_lines`). The rows of the
    fits since the last stage go with it.

    ValueError for a name recorded already, or no finite number; RuntimeError before `begin`.
    """
    if not _run:
        raise RuntimeError(f"record({name!r}) comes before begin: call begin(lesson) first")
    if name in {stage["name"] for stage in _run["stages"]}:
        raise ValueError(f"{name!r} is recorded already: run the cell with begin(...) again first")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name!r} is {value!r}: record takes a finite number, such as a float")
    seconds = round(time.perf_counter() - _clock["begin"], 3)
    stage: dict[str, Any] = {"name": name, "value": float(value), "seconds": seconds}
    fits = take()
    if fits:
        stage["fits"] = fits
    _run["stages"].append(stage)
    _write()
    show(Line(_run["lesson"], _run["size"], name, float(value)))


def results_table() -> ResultsTable:
    """A row a recorded stage: this run, other seeds, real data, the video (or 2017), and why."""
    stages = {stage["name"]: stage["value"] for stage in _run.get("stages", [])}
    return ResultsTable(_run.get("lesson", ""), _run.get("size", "sample"), stages)


def compare_fits(stage: str | None = None, column: str = "val_loss") -> Axes:
    """Draw the fits recorded with `stage`, an epoch a point, beside those of runs on real data.

    A fit belongs to the stage that is recorded next after it; without a name, the last such stage.
    `column`: any of the table under the fit. ValueError if no fit belongs to the stage.
    """
    kept = {found["name"]: found["fits"] for found in _run.get("stages", []) if "fits" in found}
    stage = next(reversed(kept), "") if stage is None else stage
    if stage not in kept:
        there = ", ".join(map(repr, kept)) or "none: call record after fit"
        raise ValueError(f"no fit belongs to {stage!r}; stages with fits: {there}")
    lesson, size = _run["lesson"], _run["size"]
    data = words_of(lesson).of(size)
    runs = {f"this run ({data})" if data else "this run": kept[stage]}
    for run in real_runs(lesson, size):
        if run.fits(stage):
            runs[run.on] = run.fits(stage)
    return draw(runs, column)


def _write() -> None:
    """The record so far, whole: what a run that breaks off has measured is kept."""
    _run["memory_gb"] = round(peak_memory_gb(), 2)
    file = inside(_folder(), f"{_run['lesson']}.{_run['size']}.{DEVICE.type}.json")
    with atomic(file) as part:
        part.write_text(json.dumps(_run, indent=1) + "\n", "utf-8")


def _folder() -> Path:
    """Where records go."""
    named = os.environ.get("COURSE_RESULTS")
    return Path(named).expanduser() if named else ROOT / ".runs" / "interactive"
