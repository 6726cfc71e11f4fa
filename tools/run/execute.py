"""One notebook, executed by papermill into a copy that appears whole; what it recorded."""

import errno
import json
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
from course_utils.beside import record_files
from course_utils.files import atomic, is_full_disk
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError

from tools import ROOT
from tools.report.records import Run, runs

__all__ = [
    "CELL_TIMEOUT",
    "Outcome",
    "Task",
    "execute",
    "failed",
    "is_copy",
    "kernel_environment",
    "records",
]

CELL_TIMEOUT = {"sample": 1800, "small": 1800, "full": 7200}  # seconds: against a cell that hangs
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
RULE = "-" * 80


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
        """The size that the notebook is told: sample, small or full."""
        return self.parameters["SIZE"]

    @property
    def executed(self) -> Path:
        """The executed copy."""
        return self.out / f"{self.name}.ipynb"


@dataclass(frozen=True)
class Outcome:
    """What became of a task. `error` is empty, or the failing cell and its traceback.

    `memory_gb`: the most that the notebook took until its last record, None if it has none.
    `reason`: the error in a line.
    """

    name: str
    seconds: float
    memory_gb: float | None
    error: str
    recorded: dict[str, float]
    reason: str = ""


@dataclass(frozen=True)
class Failure:
    """What went wrong: in a line, and in full."""

    reason: str
    error: str


def kernel_environment(out: Path, threads: int) -> dict[str, str]:
    """Environment variables for a kernel: records go to OUT/results, course_utils is importable.

    Weights and activations go to OUT/work, unless COURSE_WORK is set: what a learner has saved
    under the name that a lesson uses, in JupyterLab, stays as it is.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return dict.fromkeys(THREADS, str(threads)) | {
        "COURSE_RESULTS": str(out / "results"),
        "COURSE_WORK": os.environ.get("COURSE_WORK") or str(out / "work"),
        "PYTHONPATH": path,
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not one of the user's
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # even where Agg is set
    }


def records(out: Path, name: str, size: str) -> list[Run]:
    """What runs of the notebook `name` into `out` have recorded, one a kind of device."""
    return runs(out / "results", name, size)


def is_copy(file: Path) -> bool:
    """Whether a run has made this notebook: a file that somebody else made is not written over."""
    try:
        return "papermill" in json.loads(file.read_text("utf-8"))["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _papermill_path(path: Path) -> str:
    """A path for papermill, which would put parameters in the place of {…}."""
    return str(path).replace("{", "{{").replace("}", "}}")


def execute(task: Task) -> Outcome:
    """Run one notebook. For a fresh process: it changes the environment."""
    os.environ.update(kernel_environment(task.out, task.threads))
    for stale in record_files(task.out / "results", task.name, task.size):
        stale.unlink()
    if task.bar is None:
        print(f"{task.name}: started", flush=True)
    start = time.perf_counter()
    failure = _failure(task)
    seconds = time.perf_counter() - start
    found = records(task.out, task.name, task.size)
    recorded = {name: value for run in found for name, value in run.values.items()}
    peaks = [run.memory_gb for run in found if run.memory_gb is not None]
    memory = max(peaks, default=None)
    return Outcome(task.name, seconds, memory, failure.error, recorded, failure.reason)


def failed(task: Task, seconds: float, reason: str) -> Outcome:
    """The outcome of a task whose process could not tell of it itself."""
    return Outcome(task.name, seconds, None, reason, {}, reason)


def _failure(task: Task) -> Failure:
    """Execute and save; what went wrong, or two empty texts.

    A failed notebook is saved as well: it shows where.
    """
    kept: list[nbformat.NotebookNode] = []
    failure = _run_cells(task, kept)
    try:
        for notebook in kept:
            _save(notebook, task.executed)
    except OSError as e:
        cause = _cause(e) or "it cannot be written"
        reason = f"{cause}: {task.executed} is as it was before the run"
        shown = [failure.error, RULE] if failure.error else []
        failure = Failure(reason, "\n".join([*shown, f"{reason} ({e})"]))
    return failure


def _run_cells(task: Task, kept: list[nbformat.NotebookNode]) -> Failure:
    """Execute; the cell that failed and its traceback, or two empty texts."""
    try:
        _execute(task, kept)
    except PapermillExecutionError as e:
        full = os.strerror(errno.ENOSPC) in str(e.evalue)
        return _cell_failed(e.source, e.traceback, "the disk is full" if full else "")
    except Exception as e:  # a dead kernel, a cell over its time, a notebook that is no JSON
        return _cell_failed(_last_cell(kept), traceback.format_exception_only(e), _cause(e))
    return Failure("", "")


def _cell_failed(source: str, lines: list[str], cause: str) -> Failure:
    reason = "a cell failed: it is printed below"
    if cause:
        reason = f"a cell failed, {cause}: it is printed below"
    return Failure(reason, "\n".join([source, RULE, *lines]))


def _cause(error: Exception) -> str:
    """What is likely behind an error that does not say so; "" if nobody knows."""
    if isinstance(error, OSError) and is_full_disk(error):
        return "the disk is full"
    if type(error).__name__ == "DeadKernelError":  # of nbclient, which papermill brings
        return "its kernel died (ended by the cell, or killed because the memory ran out)"
    return ""


class Keeping(NBClientEngine):
    """Papermill's engine, which keeps the notebook for whoever asks, also when it breaks off."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        *args: Any,
        kept: list[nbformat.NotebookNode],
        **kwargs: Any,
    ) -> None:
        """Execute the cells; the notebook is in `kept` from the start."""
        kept.append(nb_man.nb)
        super().execute_managed_notebook(nb_man, *args, **kwargs)


papermill_engines.register("keeping", Keeping)


def _execute(task: Task, kept: list[nbformat.NotebookNode]) -> None:
    """Execute; papermill writes nothing, since it would write over the copy of an earlier run."""
    bar = {"desc": task.name, "position": task.bar}
    papermill.execute_notebook(
        _papermill_path(task.notebook),
        None,
        task.parameters,
        engine_name="keeping",
        kernel_name="python3",
        kept=kept,
        shutdown_kernel="immediate",  # a kernel with PyTorch takes two seconds to end by itself
        cwd=task.notebook.parent,
        progress_bar=bar if task.bar is not None else False,
        execution_timeout=CELL_TIMEOUT[task.size],
        extra_arguments=["--IPKernelApp.log_level=40"],  # no advice on encryption, say
    )


def _save(notebook: nbformat.NotebookNode, file: Path) -> None:
    """Write to one side, read it again, and only then put it into the place of `file`.

    OSError if the disk does not hold all of it: then `file` is as before.
    """
    content = nbformat.writes(notebook).encode()
    with atomic(file) as part:
        with open(part, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        if part.read_bytes() != content:
            raise OSError(errno.EIO, "what was written is not what is there", str(part))


def _last_cell(kept: list[nbformat.NotebookNode]) -> str:
    """Source of the code cell that papermill started last; "" if it did not come so far."""
    started = ""
    for cell in kept[0].cells if kept else []:
        start = cell.metadata.get("papermill", {}).get("start_time")
        if cell.cell_type == "code" and start is not None:
            started = cell.source
    return started
