"""Results of a lesson, written by the run that makes them. Used in every lesson."""

import json
import math
import os
import time
import tomllib
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from pandas.io.formats.style import Styler

from .choose import choose
from .core import DEVICE, set_seed
from .files import ROOT, SIZES, atomic, inside
from .provenance import peak_memory_gb, provenance

__all__ = ["begin", "record", "results_table"]

ORIGINAL = Path(__file__).with_name("original.toml")  # lesson -> stage -> {video, why}

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
    _write()


def record(name: str, value: float) -> None:
    """Add a stage, a new name with a finite number, to COURSE_RESULTS/LESSON.SIZE.DEVICE.json.

    ValueError for a name recorded already, or no finite number; RuntimeError before `begin`.
    """
    if not _run:
        raise RuntimeError(f"record({name!r}) comes before begin: call begin(lesson) first")
    if name in {stage["name"] for stage in _run["stages"]}:
        raise ValueError(f"{name!r} is recorded already: run the cell with begin(...) again first")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name!r} is {value!r}: record takes a finite number, such as a float")
    seconds = round(time.perf_counter() - _clock["begin"], 3)
    _run["stages"].append({"name": name, "value": float(value), "seconds": seconds})
    _write()


def results_table() -> Styler:
    """A row a recorded stage: this run, the video (or notebook of 2017), why they can differ."""
    lesson = _run.get("lesson", "")
    source = "in 2017" if "2017/" in lesson else "the video"
    shown = tomllib.loads(ORIGINAL.read_text("utf-8")).get(lesson, {})
    rows = []
    for stage in _run.get("stages", []):
        original = shown.get(stage["name"], {})
        rows.append([stage["name"], stage["value"], original.get("video"), original.get("why", "")])
    columns = ["stage", "this run", source, "why they can differ"]
    table = pd.DataFrame(rows, columns=columns).astype({"this run": float, source: float})
    return _styled(table, numbers=["this run", source], words=["stage", "why they can differ"])


def _styled(table: pd.DataFrame, numbers: list[str], words: list[str]) -> Styler:
    # JupyterLab drops style sheets of other people
    left = Markup('<div style="text-align: left">{}</div>').format  # which escapes what it is given
    styled = table.style.hide(axis="index")
    styled = styled.format(_number, subset=numbers, na_rep="")
    return styled.format(left, subset=words)


def _number(value: float) -> str:
    """Whole numbers in full, others with four digits behind the point, or what one can read."""
    if value.is_integer():
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.0e}"
    if abs(value) < 100:
        return f"{value:.4f}"
    return f"{value:,.1f}"


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
