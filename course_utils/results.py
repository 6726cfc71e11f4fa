"""Results of a lesson, written by the run that makes them. Used in every lesson."""

import json
import math
import os
import platform
import subprocess
import time
import tomllib
from datetime import UTC, datetime
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .core import DEVICE, ROOT, atomic, set_seed
from .data import fingerprint

__all__ = ["begin", "record", "results_table"]

SIZES = ("sample", "full")
_run: dict[str, Any] = {}  # what `begin` opened and `record` adds to: one run a process
_clock: list[float] = []


def begin(lesson: str, size: str = "sample", seed: int = 42, data: Path | None = None) -> None:
    """Seed the random generators and open the record of this run, in place of an earlier one.

    `data` is the directory whose fingerprint goes into the record. ValueError for an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}: use 'sample' or 'full'")
    _clock[:] = [time.perf_counter()]
    _run.clear()
    _run.update({"lesson": lesson, "size": size, "seed": seed, **_provenance(data), "stages": []})
    set_seed(seed)
    _write()


def record(name: str, value: float) -> None:
    """Add one stage to the record and rewrite its file, `LESSON.SIZE.DEVICE.json`, at once.

    The file lies in the directory COURSE_RESULTS (default: .runs/interactive). RuntimeError before `begin`, ValueError
    for a name that was used already and for anything but a finite number.
    """
    if not _run:
        raise RuntimeError(f"record({name!r}) comes before begin: call begin(lesson) first")
    if name in {stage["name"] for stage in _run["stages"]}:
        raise ValueError(f"{name!r} is recorded already: run the cell with begin(...) again first")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name!r} is {value!r}: record takes a finite number, such as a float")
    seconds = round(time.perf_counter() - _clock[0], 3)
    _run["stages"].append({"name": name, "value": float(value), "seconds": seconds})
    _write()


def results_table() -> pd.DataFrame:
    """One row a stage recorded: stage, this run, the video, why they can differ."""
    original = tomllib.loads((ROOT / "nbs" / "original.toml").read_text("utf-8"))
    videos = original.get(_run.get("lesson", ""), {})
    rows = [(s["name"], s["value"], videos.get(s["name"], {})) for s in _run.get("stages", [])]
    table = [(name, value, v.get("video", math.nan), v.get("why", "")) for name, value, v in rows]
    return pd.DataFrame(table, columns=["stage", "this run", "the video", "why they can differ"])


def _write() -> None:
    folder = Path(os.environ.get("COURSE_RESULTS") or ROOT / ".runs" / "interactive")
    with atomic(folder / f"{_run['lesson']}.{_run['size']}.{_run['device']['type']}.json") as part:
        part.write_text(json.dumps(_run, indent=1) + "\n", "utf-8")


def _provenance(data: Path | None) -> dict[str, Any]:
    cuda = DEVICE.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    packages = ("torch", "torchvision", "numpy", "pandas")
    return {
        "device": {"type": DEVICE.type, "name": name},
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "commit": _commit(),
        "data": data and fingerprint(data),
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str | None:
    """The commit of this checkout, with +changes if anything but notebooks and results differs."""
    if not (ROOT / ".git").exists():
        return None
    head = _git("rev-parse", "--verify", "--quiet", "HEAD")
    dirty = _git("status", "--porcelain", "--", ".", ":(exclude)nbs", ":(exclude)results")
    return f"{head}+changes" if head and dirty else head or None


def _git(*args: str) -> str:
    try:
        return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git on this machine
        return ""
