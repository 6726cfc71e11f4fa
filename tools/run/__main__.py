"""The command line of the runner.

Exit code 1 if a notebook fails, lacks a stage or is below a floor, 2 for a wrong command line,
130 after Ctrl-C.
"""

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import papermill
from joblib import cpu_count

from tools import ROOT
from tools.run import NOTEBOOKS, find
from tools.run.execute import CELL_TIMEOUT, Outcome, Task, is_copy
from tools.run.pool import alone, run_all
from tools.run.verdict import (
    EXPECTED,
    ORIGINAL,
    Lesson,
    Original,
    load_expected,
    load_originals,
    problems,
)

__all__ = ["main", "parser", "tasks_for"]

OUT = ROOT / ".runs" / "latest"


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
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("KEY", "VALUE")
    )
    p.add_argument("--solutions", action="store_true", help="the solutions of exercises as well")
    p.add_argument("--notebooks", type=Path, default=NOTEBOOKS, metavar="DIR", help="default: nbs")
    p.add_argument("--expected", type=Path, default=EXPECTED, metavar="FILE", help="the floors")
    p.add_argument("--original", type=Path, default=ORIGINAL, metavar="FILE", help="the videos'")
    return p


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def tasks_for(args: argparse.Namespace) -> list[Task]:
    """The tasks that a command line asks for. ValueError, in one line, if it cannot be done."""
    chosen = _chosen(args)
    parameters = _parameters(args)
    for name, path in chosen.items():
        _refuse_unknown(name, path, parameters)
    threads = args.threads or max(1, cpu_count() // _jobs(args, len(chosen)))
    tasks = []
    for line, (name, path) in enumerate(chosen.items()):
        bar = line if sys.stderr.isatty() else None
        task = Task(name, path, args.out.resolve(), parameters, threads, bar)
        if task.executed.exists() and not is_copy(task.executed):
            raise ValueError(
                f"{task.executed} is not the copy of an earlier run: move it away, "
                "or choose another folder with --out"
            )
        tasks.append(task)
    return tasks


def _chosen(args: argparse.Namespace) -> dict[str, Path]:
    found = find(args.notebooks, solutions=args.solutions)
    if not found:
        raise ValueError(f"there are no notebooks in {args.notebooks}")
    unknown = [name for name in args.only or [] if name not in found]
    if unknown:
        raise ValueError(f"no notebook {', '.join(unknown)}; there are: {', '.join(found)}")
    return {name: path for name, path in found.items() if not args.only or name in args.only}


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    given = {key: _literal(value) for key, value in args.parameter}
    for key in ("SIZE", "SEED"):
        if key in given:
            raise ValueError(f"give {key} with --{key.lower()}, not with -p")
    if args.seed is not None:
        given["SEED"] = args.seed
    return {"SIZE": args.size, **given}


def _jobs(args: argparse.Namespace, count: int) -> int:
    return args.jobs or min(2, cpu_count(), count)


def _literal(text: str) -> Any:
    """A Python literal where `text` is one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _refuse_unknown(name: str, path: Path, parameters: dict[str, Any]) -> None:
    """Papermill only warns of a parameter that a notebook does not have: a typing error is lost."""
    try:
        known = papermill.inspect_notebook(nbformat.read(path, as_version=4))
    except ValueError as e:
        raise ValueError(f"{name} is no notebook: {e}") from None
    for key in parameters:
        if key not in known:
            raise ValueError(f"{name} has no parameter {key}; it has: {', '.join(sorted(known))}")


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
    except OSError as e:  # a folder that cannot be made or written to
        print(f"run: {args.out}: {e}", file=sys.stderr)
        return 2
    if sys.stderr.isatty():
        print("\n" * len(outcomes))  # past the progress bars
    return _report(outcomes, args)


def _report(outcomes: Sequence[Outcome], args: argparse.Namespace) -> int:
    """Print the table, then what is wrong; 1 if anything is, else 0."""
    expected = load_expected(args.expected, args.size)
    originals = load_originals(args.original)
    rows = []
    wrong = []
    for outcome in outcomes:
        lesson, original = expected.get(outcome.name), originals.get(outcome.name, {})
        lines = [outcome.reason]
        if not outcome.error:
            lines = problems(outcome.recorded, lesson, original)
        status = "FAILED" if lines else "ok"
        rows.append(_row(outcome, lesson, original) | {"status": status})
        wrong += [f"{outcome.name}: {line}" for line in lines]
    print(pd.DataFrame(rows).to_string(index=False, justify="left"))
    print(f"executed notebooks and records: {args.out}")
    for line in wrong:
        print(line)
    for outcome in outcomes:
        if outcome.error not in ("", outcome.reason):
            print(f"\n{'=' * 80}\n{outcome.name}\n{'=' * 80}\n{outcome.error}")
    return int(bool(wrong))


def _row(outcome: Outcome, lesson: Lesson | None, original: dict[str, Original]) -> dict[str, str]:
    """A row of the table: what the notebook took, and its key result beside what counts for it."""
    took = {
        "lesson": outcome.name,
        "time": f"{outcome.seconds:.0f} s",
        "memory": "-" if outcome.memory_gb is None else f"{outcome.memory_gb:.1f} GB",
    }
    if lesson is None:
        return took | {"key result": "-", "floor": "-", "video": "-"}
    key = lesson.key
    return took | {
        "key result": f"{key} {outcome.recorded[key]:.5g}" if key in outcome.recorded else "-",
        "floor": f"{lesson.stages[key].limit:.5g}",
        "video": str(original[key].video) if key in original else "-",
    }


if __name__ == "__main__":
    sys.exit(main())
