"""What a reader wants beside a recorded number: other seeds, real data, the video.

Each is read where it is kept: tests/expected.toml and results/ of a checkout, original.toml and
beside.toml of this package. An installed package has no checkout: its places stay empty.

results/LESSON.SIZE.DEVICE.json is the record of the notebook's own seed; those of other seeds have
the same name in results/seeds/SEED/.
"""

import json
import re
import statistics
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .files import ROOT

__all__ = [
    "REAL_SIZES",
    "Real",
    "Seeds",
    "Words",
    "is_the_same_on_all_data",
    "original_of",
    "real_runs",
    "record_files",
    "seeds_of",
    "source_of",
    "spreads_over_seeds",
    "words_of",
]

REAL_SIZES = ("small", "full")
RESULTS = ROOT / "results"
EXPECTED = ROOT / "tests" / "expected.toml"
ORIGINAL = Path(__file__).with_name("original.toml")  # lesson -> stage -> {video, why}
TIMES = re.compile("(?<!equal )seconds")  # in the names of stages that are some
WORDS = Path(__file__).with_name("beside.toml")  # data set -> its lessons and what it is called


@dataclass(frozen=True)
class Words:
    """What the data of a lesson are called; `counted`: the stage that says how many there were."""

    sample: str = ""
    real: str = "real data"
    counted: str = ""

    def of(self, size: str) -> str:
        """The data of a run of that size."""
        return self.sample if size == "sample" else self.real


@dataclass(frozen=True)
class Seeds:
    """Mean and standard deviation of a stage over so many seeds."""

    n: int
    mean: float
    sd: float


@dataclass(frozen=True)
class Real:
    """A recorded run on real data; `on`: what they are, such as "2,002 photos".

    `seeds`: stage to what several seeds gave, where there are records of more than one.
    """

    on: str
    stages: dict[str, Any]
    seeds: dict[str, Seeds]

    def value(self, stage: str) -> float | None:
        """What it recorded under that name, if it did."""
        found = self.stages.get(stage)
        return None if found is None else found["value"]

    def fits(self, stage: str) -> list[str]:
        """The rows of the fits before that stage, as `fits.as_csv` has them."""
        return self.stages.get(stage, {}).get("fits", [])


def words_of(lesson: str) -> Words:
    """What the data of a lesson, or of its solutions, are called."""
    name = lesson.removeprefix("solutions/")
    for keys in _tables(WORDS).values():
        if name in keys["lessons"]:
            return Words(**{key: text for key, text in keys.items() if key != "lessons"})
    return Words()


def seeds_of(lesson: str, stage: str, size: str) -> Seeds | None:
    """What several seeds of that size gave, where it was measured.

    Of the sample and the small set tests/expected.toml says so; of full data the records do. Not
    where all that is left of it is 0: five digits are kept, of which a rounding error has none.
    """
    if size == "full":
        newest = _newest(lesson, size)
        return None if newest is None else spreads_over_seeds(newest).get(stage)
    keys = _expected(lesson, stage)
    measured = keys if size == "sample" else keys.get(size, {})
    if "mean" not in measured or measured["mean"] == measured["sd"] == 0:
        return None
    return Seeds(len(measured["seeds"]), measured["mean"], measured["sd"])


def is_the_same_on_all_data(lesson: str, stage: str) -> bool:
    """Whether a stage is a matter of arithmetic: it has one right value, whatever the data."""
    return "exact" in _expected(lesson, stage)


def real_runs(lesson: str, size: str) -> list[Real]:
    """The recorded runs on real data of other sizes than `size`, the smaller first.

    Of those of one size, on several kinds of device, the one that started last.
    """
    found = []
    for other in REAL_SIZES:
        newest = _newest(lesson, other)
        if other != size and newest is not None:
            found.append(_real(newest, words_of(lesson)))
    return found


def spreads_over_seeds(run: dict[str, Any]) -> dict[str, Seeds]:
    """Stage to mean and deviation over a record of results/ and its likes with other seeds.

    A small run was made with the seeds that its floors were measured with. Left out is what all
    seeds agree on, such as a count, and what is the machine's: seconds.
    """
    lesson, size = run["lesson"], run["size"]
    if size == "small":
        found = {stage: seeds_of(lesson, stage, size) for stage in _values(run)}
    else:
        values = [_values(run), *(_values(other) for other in _with_other_seeds(run))]
        found = {
            stage: _seeds([one[stage] for one in values if stage in one]) for stage in values[0]
        }
    there = {stage: seeds for stage, seeds in found.items() if seeds is not None and seeds.sd > 0}
    return {stage: seeds for stage, seeds in there.items() if not TIMES.search(stage)}


def record_files(folder: Path, lesson: str, size: str) -> list[Path]:
    """The records of a lesson in a folder of records, sorted: one a kind of device."""
    start = folder / f"{lesson}.{size}"
    name = re.compile(re.escape(start.name) + r"\.\w+\.json")
    return [file for file in sorted(start.parent.glob("*.json")) if name.fullmatch(file.name)]


def original_of(lesson: str, stage: str) -> dict[str, Any]:
    """`video` and `why`: what the original shows and why ours can differ; empty if it does not."""
    return _tables(ORIGINAL).get(lesson, {}).get(stage, {})


def source_of(lesson: str) -> str:
    """Where the original shows its numbers."""
    return "in 2017" if "2017/" in lesson else "the video"


def _expected(lesson: str, stage: str) -> dict[str, Any]:
    """What tests/expected.toml says of a stage; empty if nothing."""
    return _tables(EXPECTED).get(lesson, {}).get("stages", {}).get(stage, {})


def _real(run: dict[str, Any], words: Words) -> Real:
    stages = {stage["name"]: stage for stage in run["stages"]}
    on = words.real if run["size"] == "full" else f"{words.real} (small set)"
    if words.counted in stages:
        on = f"{stages[words.counted]['value']:,.0f} {words.real}"
    return Real(on, stages, spreads_over_seeds(run))


def _newest(lesson: str, size: str) -> dict[str, Any] | None:
    """Of the records of one size, on several kinds of device, the one that started last."""
    runs = _records(RESULTS, lesson, size)
    return max(runs, key=lambda run: run["started"], default=None)


def _with_other_seeds(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The records in results/seeds that differ from a record by their seed."""
    device = run["device"]["type"]
    found = []
    for folder in sorted((RESULTS / "seeds").glob("[0-9]*")):
        runs = _records(folder, run["lesson"], run["size"])
        found += [other for other in runs if other["device"]["type"] == device]
    return [other for other in found if other["seed"] != run["seed"]]


def _values(run: dict[str, Any]) -> dict[str, float]:
    return {stage["name"]: stage["value"] for stage in run["stages"]}


def _seeds(values: list[float]) -> Seeds | None:
    if len(values) < 2:
        return None
    return Seeds(len(values), statistics.mean(values), statistics.stdev(values))


def _records(folder: Path, lesson: str, size: str) -> list[dict[str, Any]]:
    return [_read(file, json.loads) for file in record_files(folder, lesson, size)]


def _tables(file: Path) -> dict[str, Any]:
    return _read(file, tomllib.loads) if file.is_file() else {}


def _read(file: Path, parse: Callable[[str], Any]) -> Any:
    return _parsed(file, file.stat().st_mtime_ns, parse)


@cache
def _parsed(file: Path, changed: int, parse: Callable[[str], Any]) -> Any:
    """What a file holds, read once for each time that it has `changed`."""
    return parse(file.read_text("utf-8"))
