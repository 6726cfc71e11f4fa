"""The tables of the lessons: stage by stage on results/README.md, a row each on README.md."""

from pathlib import Path

from tools import ROOT
from tools.report.markdown import number, numbers, table
from tools.report.records import RESULTS, Run, read
from tools.run.verdict import load_expected, load_originals

__all__ = ["lesson_table", "lessons", "runs_of", "summary"]

RUNS = {"sample.cpu": "sample, CPU", "full.cpu": "full data, CPU", "full.cuda": "full data, GPU"}


def lessons() -> list[str]:
    """Every lesson, in the order of the lists in README.md."""
    readme = (ROOT / "README.md").read_text("utf-8")
    return sorted(load_originals(), key=lambda lesson: readme.index(f"(nbs/{lesson}.ipynb)"))


def runs_of(lesson: str, results: Path = RESULTS) -> dict[str, Run]:
    """The recorded runs of a lesson by the title of their column."""
    files = {title: results / f"{lesson}.{run}.json" for run, title in RUNS.items()}
    return {title: read(Run, file) for title, file in files.items() if file.exists()}


def lesson_table(lesson: str) -> str:
    """Stage by stage: the original's number, then each recorded run of the lesson."""
    original = {name: stage.video for name, stage in load_originals()[lesson].items()}
    runs = runs_of(lesson)
    columns = [original, *(run.values for run in runs.values())]
    names = dict.fromkeys(name for column in reversed(columns) for name in column)  # once each
    rows = [[name, *numbers([column.get(name) for column in columns])] for name in names]
    for fact, says in FACTS.items():
        rows.append([f"*{fact}*", "", *(says(run) for run in runs.values())])
    return table([lesson, "original", *runs], rows)


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
