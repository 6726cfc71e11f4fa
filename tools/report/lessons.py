"""The tables of the lessons: stage by stage on results/README.md, a row each on README.md."""

from dataclasses import asdict
from pathlib import Path

from course_utils.beside import spreads_over_seeds
from course_utils.result_lines import spread

from tools import ROOT
from tools.report.markdown import number, numbers, table
from tools.report.records import RESULTS, Run, read
from tools.run.verdict import load_expected, load_originals

__all__ = ["lesson_table", "lessons", "runs_of", "summary"]

RUNS = {
    "sample.cpu": "sample, CPU",
    "small.cpu": "small, CPU",
    "full.cpu": "full data, CPU",
    "full.cuda": "full data, GPU",
}


def lessons() -> list[str]:
    """Every lesson, in the order of the lists in README.md."""
    readme = (ROOT / "README.md").read_text("utf-8")
    return sorted(load_originals(), key=lambda lesson: readme.index(f"(nbs/{lesson}.ipynb)"))


def runs_of(lesson: str, results: Path = RESULTS) -> dict[str, Run]:
    """The recorded runs of a lesson by the title of their column."""
    files = {title: results / f"{lesson}.{run}.json" for run, title in RUNS.items()}
    return {title: read(Run, file) for title, file in files.items() if file.exists()}


def lesson_table(lesson: str) -> str:
    """Stage by stage: the original's number, each recorded run, and what several seeds gave."""
    original = {name: stage.video for name, stage in load_originals()[lesson].items()}
    runs = runs_of(lesson)
    columns = [original, *(run.values for run in runs.values())]
    names = dict.fromkeys(name for column in reversed(columns) for name in column)  # once each
    of_seeds = _spreads(runs)
    rows = []
    for name in names:
        values = numbers([column.get(name) for column in columns])
        rows.append([name, *values, *(texts.get(name, "") for texts in of_seeds.values())])
    for fact, says in FACTS.items():
        rows.append(
            [f"*{fact}*", "", *(says(run) for run in runs.values()), *("" for _ in of_seeds)]
        )
    return table([lesson, "original", *runs, *of_seeds], rows)


def _spreads(runs: dict[str, Run]) -> dict[str, dict[str, str]]:
    """Title of a column to stage to mean ± standard deviation, of the runs with several seeds."""
    columns = {}
    for title, run in runs.items():
        found = {} if run.size == "sample" else spreads_over_seeds(asdict(run))
        if found:
            most = max(seeds.n for seeds in found.values())
            columns[f"{title}, {most} seeds"] = {name: spread(s) for name, s in found.items()}
    return columns


def summary() -> str:
    """One row a lesson: its key result in the original and in each kind of recorded run."""
    expected, originals = load_expected(), load_originals()
    rows = []
    for lesson in lessons():
        key = expected[lesson].key
        original = originals[lesson].get(key)
        values = [original.video if original else None]
        runs = runs_of(lesson)
        for title in RUNS.values():
            values.append(runs[title].values.get(key) if title in runs else None)
        rows.append([lesson, key, *numbers(values), _seconds(runs["sample, CPU"])])
    return table(["lesson", "stage", "original", *RUNS.values(), "seconds, sample"], rows)


def _seconds(run: Run) -> str:
    return number(round(run.stages[-1].seconds))


def _memory(run: Run) -> str:
    return "" if run.memory_gb is None else f"{run.memory_gb:.1f}"


def _place(run: Run) -> str:
    return run.place


def _torch(run: Run) -> str:
    return run.versions["torch"]


def _commit(run: Run) -> str:
    """The first seven digits; * after them: with changes that were not committed."""
    if run.commit is None:
        return ""
    changed = "*" if run.commit.endswith("+changes") else ""
    return run.commit[:7] + changed


FACTS = {
    "seconds": _seconds,
    "peak memory, GB": _memory,
    "device": _place,
    "torch": _torch,
    "commit": _commit,
}
