"""Measure notebooks with several seeds and write their floors into tests/expected.toml.

`python -m tools.floors lesson1-dogscats --seeds 1 2 3 4 5`; the runs are a sweep (tools/sweep.py)
into .runs/floors.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from course_utils.files import atomic, inside

from tools import ROOT, sweep
from tools.run.execute import records
from tools.run.verdict import EXPECTED, Floor, load_expected

__all__ = ["Measured", "floor", "main", "measured", "rewrite"]

OUT = ROOT / ".runs" / "floors"
DEVIATIONS = 4  # between the mean and the floor


@dataclass(frozen=True)
class Measured:
    """What the runs say of a stage."""

    seeds: list[int]
    mean: float
    sd: float
    floor: float


def floor(stage: Floor, mean: float, sd: float) -> float:
    """The mean, worse by four standard deviations; each is one `resolution` of the stage or more.

    ValueError if that is looser than the baseline with its margin.
    """
    spread = DEVIATIONS * max(sd, stage.resolution)
    bound = round(mean - stage.sign * spread, 4)
    if stage.sign * bound < stage.sign * stage.beaten_baseline:
        raise ValueError(
            f"floor {bound} is looser than the baseline {stage.baseline} with its margin "
            f"{stage.margin}: improve the lesson or state a smaller margin"
        )
    return bound


def measured(stage: Floor, values: dict[int, float]) -> Measured:
    """Spread and floor of a stage from its value for each seed (two or more)."""
    mean = round(statistics.mean(values.values()), 5)
    sd = round(statistics.stdev(values.values()), 5)
    return Measured(list(values), mean, sd, floor(stage, mean, sd))


def rewrite(text: str, lesson: str, numbers: dict[str, Measured], size: str = "sample") -> str:
    """`text` of expected.toml with the numbers of these stages; what is written by hand stays.

    Those of the small set stand in a table of their own. KeyError if there is no such stage.
    """
    document: Any = tomlkit.parse(text)
    for stage, found in numbers.items():
        place = document[lesson]["stages"][stage]
        if size == "small":
            place = place.setdefault("small", tomlkit.inline_table())
        place.update(vars(found))
    return tomlkit.dumps(document)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, measure, rewrite; the exit code: 1 if a run failed or a floor was refused.

    The floors that are not refused are written.
    """
    parser = argparse.ArgumentParser("python -m tools.floors", description=__doc__)
    parser.add_argument("lessons", nargs="+", metavar="NAME")
    parser.add_argument("--size", choices=["sample", "small"], default="sample", help="which data")
    parser.add_argument("--expected", type=Path, default=EXPECTED, metavar="FILE")
    sweep.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        stages = {name: _stages(args.expected, name, args.size) for name in args.lessons}
        if len(args.seeds) < 2:
            raise ValueError("a spread needs two seeds or more")
        for name in args.lessons:
            inside(OUT, name)
    except ValueError as e:
        print(f"floors: {e}", file=sys.stderr)
        return 1
    done = sweep.sweep_as_told(args, args.lessons, OUT, ["--size", args.size])
    problems = [text for text in done.values() if text]
    if not problems:
        for name in args.lessons:
            values = {seed: _recorded(seed, name, args.size) for seed in args.seeds}
            problems += _update(args.expected, name, stages[name], values, args.size)
    for text in problems:
        print(f"floors: {text}", file=sys.stderr)
    return int(bool(problems))


def _stages(expected: Path, lesson: str, size: str) -> dict[str, Floor]:
    """The stages of a lesson that have floors, as they count for a size."""
    found = load_expected(expected, size).get(lesson)
    if found is None:
        raise ValueError(f"{expected.name} has no stages of {lesson}: write them first")
    return {name: stage for name, stage in found.stages.items() if isinstance(stage, Floor)}


def _update(
    expected: Path,
    lesson: str,
    stages: dict[str, Floor],
    values: dict[int, dict[str, float]],
    size: str,
) -> list[str]:
    """Write the floors of a lesson; a line for each stage that has none.

    `values`: seed -> stage -> what the run recorded.
    """
    numbers = {}
    refused = []
    for name, stage in stages.items():
        try:
            numbers[name] = measured(stage, _of_stage(name, values))
        except ValueError as e:
            refused.append(f"{lesson}, {name}: {e}")
    with atomic(expected) as part:
        part.write_text(rewrite(expected.read_text("utf-8"), lesson, numbers, size), "utf-8")
    for name, found in numbers.items():
        print(f"{lesson}, {name}: mean {found.mean}, sd {found.sd}, floor {found.floor}")
    return refused


def _recorded(seed: int, lesson: str, size: str) -> dict[str, float]:
    """Stage to value in the newest run with that seed: another device may have left its own."""
    found = records(OUT / str(seed), lesson, size)
    return max(found, key=lambda run: run.started).values


def _of_stage(name: str, values: dict[int, dict[str, float]]) -> dict[int, float]:
    missing = [seed for seed, stages in values.items() if name not in stages]
    if missing:
        raise ValueError(f"the notebook does not record it (seed {missing[0]})")
    return {seed: stages[name] for seed, stages in values.items()}


if __name__ == "__main__":
    sys.exit(main())
