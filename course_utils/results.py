"""Results of a lesson, written by the run that makes them. Used in every lesson."""

import json
import math
import os
import resource
import sys
import time
import tomllib
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from .core import DEVICE, set_seed
from .files import ROOT, atomic
from .provenance import provenance

__all__ = ["begin", "record", "results_table"]

ORIGINAL = Path(__file__).with_name("original.toml")  # the numbers of the videos, by lesson

_run: dict[str, Any] = {}  # what `begin` opened and `record` adds to: one run a process
_clock = [0.0]  # when it was opened


def begin(lesson: str, size: str = "sample", seed: int = 42, data: Path | None = None) -> None:
    """Open the record of this run and seed it; `data`: directory to fingerprint. ValueError for an unknown size."""
    if size not in ("sample", "full"):
        raise ValueError(f"unknown size {size!r}: use 'sample' or 'full'")
    _clock[0] = time.perf_counter()
    _run.update({"lesson": lesson, "size": size, "seed": seed, **provenance(data), "stages": []})
    set_seed(seed)
    _write()


def record(name: str, value: float) -> None:
    """Add a stage, a new name with a finite number (else ValueError), to COURSE_RESULTS/LESSON.SIZE.DEVICE.json."""
    if not _run:
        raise RuntimeError(f"record({name!r}) comes before begin: call begin(lesson) first")
    if name in {stage["name"] for stage in _run["stages"]}:
        raise ValueError(f"{name!r} is recorded already: run the cell with begin(...) again first")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name!r} is {value!r}: record takes a finite number, such as a float")
    _run["stages"].append(
        {"name": name, "value": float(value), "seconds": round(time.perf_counter() - _clock[0], 3)}
    )
    _write()


def results_table() -> Styler:
    """One row a stage recorded: stage, this run, the video (or notebook of 2017), why they can differ."""
    lesson, nothing = _run.get("lesson", ""), {"video": None, "why": ""}
    videos = tomllib.loads(ORIGINAL.read_text("utf-8")).get(lesson, {})
    rows = [nothing | stage | videos.get(stage["name"], {}) for stage in _run.get("stages", [])]
    source = "in 2017" if "2017/" in lesson else "the video"
    names = {"name": "stage", "value": "this run", "video": source, "why": "why they can differ"}
    table = (
        pd.DataFrame(rows, columns=[*names])
        .rename(columns=names)
        .astype({"this run": float, source: float})
    )
    left = '<div style="text-align: left">{}</div>'  # not in a style sheet: JupyterLab drops those of other people
    numbers = table.style.hide(axis="index").format(_number, ["this run", source], na_rep="")
    return numbers.format(left, subset=["stage", "why they can differ"], escape="html")


def _number(value: float) -> str:
    form = (
        ",.0f"
        if value.is_integer()
        else ".0e"
        if abs(value) < 1e-3
        else ".4f"
        if abs(value) < 100
        else ",.1f"
    )
    return format(value, form)


def _write() -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**30 if sys.platform == "darwin" else 2**20
    )
    _run["memory_gb"] = round(peak, 2)
    folder = Path(os.environ.get("COURSE_RESULTS") or ROOT / ".runs" / "interactive")
    with atomic(folder / f"{_run['lesson']}.{_run['size']}.{DEVICE.type}.json") as part:
        part.write_text(json.dumps(_run, indent=1) + "\n", "utf-8")
