"""Execute the notebooks headless and compare what they record with what they must reach.

`python -m tools.run --help` lists the options. Exit code 1 if a notebook fails, lacks a stage or is
below a floor, 2 for a wrong command line, 130 after Ctrl-C.
"""

import argparse
import ast
import fcntl
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import papermill
import psutil
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError

from tools import expected

__all__ = [
    "Outcome",
    "Task",
    "alone",
    "cores",
    "execute",
    "find",
    "kernel_environment",
    "main",
    "parser",
    "recorded",
    "run_all",
    "tasks_for",
    "verdict",
]

NOTEBOOKS = expected.ROOT / "nbs"
OUT = expected.ROOT / ".runs" / "latest"
CELL_TIMEOUT = {"sample": 600, "full": 7200}  # seconds


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


@dataclass(frozen=True)
class Outcome:
    """What became of a task. `error` is empty, or the failing cell and its traceback."""

    name: str
    seconds: float
    memory_gb: float
    error: str
    recorded: dict[str, float]


def find(folder: Path, solutions: bool = False) -> dict[str, Path]:
    """Notebooks by name ("lesson1-dogscats", "2017/statefarm"), sorted."""
    patterns = ["*.ipynb", "2017/*.ipynb"] + [
        "solutions/*.ipynb",
        "solutions/2017/*.ipynb",
    ] * solutions
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return {path.relative_to(folder).with_suffix("").as_posix(): path.resolve() for path in paths}


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def kernel_environment(out: Path, threads: int) -> dict[str, str]:
    """Environment variables for a kernel: records go to OUT/results, course_utils is importable."""
    path = os.pathsep.join(filter(None, [str(expected.ROOT), os.environ.get("PYTHONPATH")]))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | {
        "COURSE_RESULTS": str(out / "results"),
        "PYTHONPATH": path,
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not one of the user's
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # even where Agg is set
    }


def execute(task: Task) -> Outcome:
    """Run one notebook. For a fresh process: it changes the environment and reads its children."""
    os.environ.update(kernel_environment(task.out, task.threads))
    for stale in _record_files(task.out, task.name, task.size):
        stale.unlink()
    if task.bar is None:
        print(f"{task.name}: started", flush=True)
    start = time.perf_counter()
    try:
        error = ""
        _execute_atomically(task)
    except PapermillExecutionError as e:
        error = "\n".join([e.source, "-" * 80, *e.traceback])
    except Exception as e:  # a dead kernel, a cell over its time, a notebook that is no JSON
        error = "\n".join([_last_cell(task), "-" * 80, *traceback.format_exception_only(e)])
    seconds = time.perf_counter() - start
    return Outcome(
        task.name, seconds, _children_memory_gb(), error, recorded(task.out, task.name, task.size)
    )


class SavedOnce(NBClientEngine):
    """Papermill's engine, which would save the whole notebook twice at every cell, text as well; here at the end."""

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
    target = task.out / f"{task.name}.ipynb"
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
    path = task.out / f"{task.name}.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"] if path.exists() else []
    status = [cell["metadata"].get("papermill", {}).get("status", "pending") for cell in cells]
    pairs = zip(cells, status, strict=True)
    started = [c["source"] for c, s in pairs if c["cell_type"] == "code" and s != "pending"]
    return "".join(started[-1]) if started else ""


def _children_memory_gb() -> float:
    """Peak memory of the largest child process so far, the kernel, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 2**30


def _record_files(out: Path, name: str, size: str) -> list[Path]:
    return sorted((out / "results").glob(f"{name}.{size}.*.json"))


def recorded(out: Path, name: str, size: str) -> dict[str, float]:
    """Stage to value, as `course_utils.results` wrote them in a run of the notebook `name` into `out`."""
    records = [json.loads(path.read_text("utf-8")) for path in _record_files(out, name, size)]
    return {stage["name"]: stage["value"] for record in records for stage in record["stages"]}


def run_all(tasks: Sequence[Task], jobs: int) -> list[Outcome]:
    """Execute `tasks`, `jobs` at a time, each in a fresh process; outcomes in the order of tasks.

    After Ctrl-C every kernel is ended before KeyboardInterrupt goes on.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _end_with_parent, max_tasks_per_child=1) as pool:
        futures = [pool.submit(execute, task) for task in tasks]
        try:
            for future in as_completed(futures):
                _announce(future.result(), quiet=tasks[0].bar is not None)
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            _end_workers()
            raise
    return [future.result() for future in futures]


def _end_with_parent() -> None:
    """In a worker: a thread that ends it and its kernel when the runner is gone, killed say."""

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other run writes to `folder`, then clear away what a killed one has left half-written."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"run: another run writes to {folder}; waiting for its end",
                file=sys.stderr,
                flush=True,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        for stale in [*folder.rglob(".*.ipynb"), *folder.rglob(".*.part")]:
            stale.unlink()
        yield


def _end_workers() -> None:
    """End the kernels; a worker whose kernel is gone tidies up and ends; kill what still runs."""
    workers = multiprocessing.active_children()
    _signal_children(workers, signal.SIGTERM)
    for worker in workers:
        worker.join(timeout=5)
    left = multiprocessing.active_children()  # no kernel yet, or the next task of the queue
    _signal_children(left, signal.SIGKILL)
    for worker in left:
        worker.kill()


def _signal_children(workers: Sequence[BaseProcess], number: int) -> None:
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(worker.pid).children(recursive=True):
                child.send_signal(number)


def _announce(outcome: Outcome, quiet: bool) -> None:
    if not quiet:
        end = "failed" if outcome.error else "finished"
        print(f"{outcome.name}: {end} after {outcome.seconds:.0f} s", flush=True)


def verdict(
    outcome: Outcome, size: str, bounds: dict[str, Any], originals: dict[str, Any]
) -> list[str]:
    """What is wrong with an outcome, one line each; nothing if it is fine.

    `bounds` and `originals` are all of tests/expected.toml and of course_utils/original.toml.
    """
    if outcome.error:
        return ["a cell failed: it is printed below"]
    stages = bounds.get(outcome.name, {}).get("stages", {})
    return expected.problems(outcome.recorded, stages, originals.get(outcome.name, {}), size)


def _over_limits(outcome: Outcome, size: str, lesson: dict[str, Any], jobs: int) -> list[str]:
    """Marks for a notebook that took more than its entry says: noise may do that, so no failure.

    Of `jobs` notebooks side by side each has a share of the cores, so it may take as many times as long.
    """
    if size != "sample" or not lesson:
        return []
    slow = outcome.seconds > jobs * lesson["max_seconds"]
    large = outcome.memory_gb > lesson["max_memory_gb"]
    return ["slow"] * slow + ["large"] * large


def _row(
    outcome: Outcome, size: str, bounds: dict[str, Any], originals: dict[str, Any], jobs: int
) -> dict:
    """A row of the table that `main` prints."""
    lesson = bounds.get(outcome.name, {})
    key = lesson.get("key")
    value = outcome.recorded.get(key)
    failed = verdict(outcome, size, bounds, originals)
    return {
        "lesson": outcome.name,
        "time": f"{outcome.seconds:.0f} s",
        "memory": f"{outcome.memory_gb:.1f} GB",
        "key result": f"{key} {value:.5g}" if value is not None else "-",
        "floor": f"{expected.limit(lesson['stages'][key], size):.5g}" if key else "-",
        "video": originals.get(outcome.name, {}).get(key, {}).get("video", "-"),
        "status": ", ".join(
            ["FAILED" if failed else "ok", *_over_limits(outcome, size, lesson, jobs)]
        ),
    }


def tasks_for(args: argparse.Namespace) -> list[Task]:
    """The tasks that a command line asks for. ValueError, in one line, if it cannot be done."""
    chosen, parameters = _chosen(args), _parameters(args)
    for name, path in chosen.items():
        _refuse_unknown(name, path, parameters)
    threads = args.threads or max(1, cores() // _jobs(args, len(chosen)))
    bars = range(len(chosen)) if sys.stderr.isatty() else [None] * len(chosen)
    return [
        Task(name, path, args.out.resolve(), parameters, threads, bar)
        for (name, path), bar in zip(chosen.items(), bars, strict=True)
    ]


def _chosen(args: argparse.Namespace) -> dict[str, Path]:
    found = find(args.notebooks, args.solutions)
    if not found:
        raise ValueError(f"there are no notebooks in {args.notebooks}")
    unknown = [name for name in args.only or [] if name not in found]
    if unknown:
        raise ValueError(f"no notebook {', '.join(unknown)}; there are: {', '.join(found)}")
    return {name: path for name, path in found.items() if not args.only or name in args.only}


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    given = {key: _literal(value) for key, value in args.parameter}
    for key in {"SIZE", "SEED"} & set(given):
        raise ValueError(f"give {key} with --{key.lower()}, not with -p")
    seed = {} if args.seed is None else {"SEED": args.seed}
    return {"SIZE": args.size, **seed, **given}


def _jobs(args: argparse.Namespace, count: int) -> int:
    return args.jobs or min(2, cores(), count)


def _literal(text: str) -> Any:
    """A Python literal where `text` is one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _refuse_unknown(name: str, path: Path, parameters: dict[str, Any]) -> None:
    """Papermill only warns of a parameter that a notebook does not have: a typing error is lost."""
    try:
        known = papermill.inspect_notebook(path)
    except ValueError as e:
        raise ValueError(f"{name} is no notebook: {e}") from None
    for key in parameters:
        if key not in known:
            raise ValueError(f"{name} has no parameter {key}; it has: {', '.join(sorted(known))}")


def parser() -> argparse.ArgumentParser:
    """The options of `python -m tools.run`."""
    p = argparse.ArgumentParser("python -m tools.run", description="Execute the notebooks.")
    p.add_argument("--only", nargs="+", metavar="NAME", help="these notebooks, not all")
    p.add_argument("--size", choices=sorted(CELL_TIMEOUT), default="sample", help="which data")
    p.add_argument("--seed", type=int, help="default: the one in each notebook")
    p.add_argument("--jobs", type=_positive, help="notebooks at a time (two, if there are cores)")
    p.add_argument(
        "--threads", type=_positive, help="of each notebook (the cores, shared among the jobs)"
    )
    p.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default: .runs/latest")
    p.add_argument(
        *("-p", "--parameter"), nargs=2, action="append", default=[], metavar=("KEY", "VALUE")
    )
    p.add_argument("--solutions", action="store_true", help="the solutions of exercises as well")
    p.add_argument("--notebooks", type=Path, default=NOTEBOOKS, metavar="DIR", help="default: nbs")
    p.add_argument("--expected", type=Path, default=expected.EXPECTED, metavar="FILE")
    return p


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Execute, print the table and whatever failed; the exit code."""
    args = parser().parse_args(argv)
    try:
        tasks = tasks_for(args)
    except ValueError as e:
        print(f"run: {e}", file=sys.stderr)
        return 2
    try:
        with alone(args.out):
            outcomes = run_all(tasks, _jobs(args, len(tasks)))
    except KeyboardInterrupt:
        print("run: interrupted", file=sys.stderr)
        return 130
    return _report(outcomes, args)


def _report(outcomes: Sequence[Outcome], args: argparse.Namespace) -> int:
    """Print the table, then what is wrong; 1 if anything is, else 0."""
    bounds = expected.load(args.expected)
    originals = expected.load(expected.ORIGINAL)
    if sys.stderr.isatty():
        print("\n" * len(outcomes))  # past the progress bars
    jobs = _jobs(args, len(outcomes))
    table = pd.DataFrame([_row(o, args.size, bounds, originals, jobs) for o in outcomes])
    print(table.to_string(index=False, justify="left"))
    print(f"executed notebooks and records: {args.out}")
    failed = {o.name: verdict(o, args.size, bounds, originals) for o in outcomes}
    for name, line in [(name, line) for name, lines in failed.items() for line in lines]:
        print(f"{name}: {line}")
    for outcome in outcomes:
        if outcome.error:
            print(f"\n{'=' * 80}\n{outcome.name}\n{'=' * 80}\n{outcome.error}")
    return int(any(failed.values()))


if __name__ == "__main__":
    sys.exit(main())
