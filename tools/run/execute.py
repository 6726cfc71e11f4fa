"""One notebook, executed by papermill into a copy that appears whole; what it recorded."""

import json
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError

from tools import ROOT
from tools.report.records import Run, runs

__all__ = ["CELL_TIMEOUT", "Outcome", "Task", "execute", "kernel_environment", "records"]

CELL_TIMEOUT = {"sample": 1800, "full": 7200}  # seconds: against a cell that hangs
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One notebook to execute; `bar` is the line of its progress bar, None for no bar."""

    name: str
    notebook: Path
    out: Path
    parameters: dict[str, Any]
    threads: int
    bar: int | None = None

    @property
    def size(self) -> str:
        """The size that the notebook is told: sample or full."""
        return self.parameters["SIZE"]

    @property
    def executed(self) -> Path:
        """The executed copy."""
        return self.out / f"{self.name}.ipynb"


@dataclass(frozen=True)
class Outcome:
    """What became of a task. `error` is empty, or the failing cell and its traceback.

    `memory_gb`: the most that the notebook took until its last record, None if it has none.
    """

    name: str
    seconds: float
    memory_gb: float | None
    error: str
    recorded: dict[str, float]


def kernel_environment(out: Path, threads: int) -> dict[str, str]:
    """Environment variables for a kernel: records go to OUT/results, course_utils is importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return dict.fromkeys(THREADS, str(threads)) | {
        "COURSE_RESULTS": str(out / "results"),
        "PYTHONPATH": path,
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not one of the user's
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # even where Agg is set
    }


def records(out: Path, name: str, size: str) -> list[Run]:
    """What runs of the notebook `name` into `out` have recorded, one a kind of device."""
    return runs(out / "results", name, size)


def execute(task: Task) -> Outcome:
    """Run one notebook. For a fresh process: it changes the environment."""
    os.environ.update(kernel_environment(task.out, task.threads))
    for stale in (task.out / "results").glob(f"{task.name}.{task.size}.*.json"):
        stale.unlink()
    if task.bar is None:
        print(f"{task.name}: started", flush=True)
    start = time.perf_counter()
    error = _error(task)
    seconds = time.perf_counter() - start
    found = records(task.out, task.name, task.size)
    recorded = {name: value for run in found for name, value in run.values.items()}
    peaks = [run.memory_gb for run in found if run.memory_gb is not None]
    return Outcome(task.name, seconds, max(peaks, default=None), error, recorded)


def _error(task: Task) -> str:
    """Execute; the cell that failed with its traceback, or "" if none did."""
    try:
        _execute_atomically(task)
    except PapermillExecutionError as e:
        return "\n".join([e.source, "-" * 80, *e.traceback])
    except Exception as e:  # a dead kernel, a cell over its time, a notebook that is no JSON
        return "\n".join([_last_cell(task), "-" * 80, *traceback.format_exception_only(e)])
    return ""


class SavedOnce(NBClientEngine):
    """Papermill's engine, which would save twice at every cell; here once, at the end."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: NotebookExecutionManager, *args: Any, **kwargs: Any
    ) -> None:
        """Execute the cells. The engine saves once more after this, whatever happened."""
        nb_man.save = lambda: None
        try:
            super().execute_managed_notebook(nb_man, *args, **kwargs)
        finally:
            del nb_man.save


papermill_engines.register("saved-once", SavedOnce)


def _execute_atomically(task: Task) -> None:
    """Papermill saves into a file of its own, renamed when it is done."""
    target = task.executed
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.ipynb")
    bar = {"desc": task.name, "position": task.bar}
    try:
        papermill.execute_notebook(
            task.notebook,
            part,
            task.parameters,
            engine_name="saved-once",
            kernel_name="python3",
            shutdown_kernel="immediate",  # a kernel with PyTorch takes two seconds to end by itself
            cwd=task.notebook.parent,
            progress_bar=bar if task.bar is not None else False,
            execution_timeout=CELL_TIMEOUT[task.size],
            extra_arguments=["--IPKernelApp.log_level=40"],  # no advice on encryption, say
        )
    finally:  # a failed notebook is kept as well: it shows where
        if part.exists():
            part.replace(target)


def _last_cell(task: Task) -> str:
    """Source of the code cell that papermill started last, from the saved notebook."""
    if not task.executed.exists():
        return ""
    cells = json.loads(task.executed.read_text("utf-8"))["cells"]
    started = ""
    for cell in cells:
        status = cell["metadata"].get("papermill", {}).get("status", "pending")
        if cell["cell_type"] == "code" and status != "pending":
            started = "".join(cell["source"])
    return started
