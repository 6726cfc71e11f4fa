"""`make results`: writes what the records say into the pages, README.md's tables and notebooks."""

import re
from pathlib import Path

from course_utils.files import atomic

from tools import ROOT, run
from tools.report.lessons import lesson_table, lessons, summary
from tools.report.outputs import with_outputs
from tools.report.records import RESULTS
from tools.report.speed import (
    comparisons,
    overhead_line,
    preparation_line,
    shortfalls,
    speed_table,
)

__all__ = ["page", "updated"]

INTRODUCTION = """\
# Results

Written by `make results` from the records beside this page, each made by the run that it tells of.
A test fails when this page or a number in README.md differs from them. Stand-ins (drawn animals,
coloured digits, simulated sales, another text) show that the code works; their numbers say nothing
about the real data. What each is made of: [data/README.md](../data/README.md).

Under "original" stands what the video's notebook shows; in `2017/`, what the notebooks of that
edition show. Measured values have four digits, counts all of theirs.

Under each table: the seconds from the start of the notebook to its last stage, the most memory that
it took, and where it ran; an asterisk behind a commit means that not everything was committed.
Where the full data are an edition with fewer pictures than in the video, the notebook records how
many there were. Runs on a GPU of one commit shared it: alone, each takes less time. A column of
several seeds has their mean ± standard deviation, from the records in `seeds/`; those of
"small" stand in tests/expected.toml."""

SPEED = """\
`make bench` measures it anew: each contender in processes of its own, in turn, medians of the
rounds. "Bare PyTorch" is the plain loop over the same batches, for pictures torchvision's own
loading."""

COLUMNS = """\
Rates and seconds are those of a later epoch; a ratio says how many times as fast as fastai this
course is."""


def page() -> str:
    """results/README.md: every stage of every lesson, then speed."""
    sections = [f"## {lesson}\n\n{lesson_table(lesson)}" for lesson in lessons()]
    speed = ["## Speed", SPEED, _speed(), shortfalls(comparisons())]
    return "\n\n".join([INTRODUCTION, *sections, *speed]) + "\n"


def _speed() -> str:
    parts = [COLUMNS, speed_table(comparisons()), overhead_line(), preparation_line()]
    return "\n\n".join(parts)


def updated(readme: str) -> str:
    """README.md with the tables between its markers made anew."""
    return _with(_with(readme, "results", summary()), "bench", _speed())


def _with(readme: str, name: str, text: str) -> str:
    """`readme` with `text` between the markers of that name."""
    start = f"<!-- {name}: made by `make results` -->"
    end = f"<!-- end of {name} -->"
    return re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{text}\n{end}", readme, flags=re.DOTALL)


def _write(file: Path, text: str) -> None:
    with atomic(file) as part:
        part.write_text(text, "utf-8")


if __name__ == "__main__":
    readme = ROOT / "README.md"
    _write(readme, updated(readme.read_text("utf-8")))
    _write(RESULTS / "README.md", page())
    for notebook in run.find(run.NOTEBOOKS, solutions=True).values():
        saved = notebook.read_text("utf-8")
        shown = with_outputs(saved)
        if shown != saved:
            _write(notebook, shown)
