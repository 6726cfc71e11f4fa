"""Measure a notebook with several seeds and write its floors into tests/expected.toml.

`python -m tools.floors lesson1-dogscats --seeds 1 2 3 4 5`
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools import expected, run

__all__ = ["floor", "main", "measured", "rewrite"]

MEASURED = ("seeds", "mean", "sd", "floor")


def floor(stage: expected.Stage, mean: float, sd: float) -> float:
    """The mean, worse by four standard deviations; each is one `resolution` of the stage or more.

    ValueError if that is looser than the baseline with its margin.
    """
    sign = 1 if stage["better"] == "higher" else -1
    bound = round(mean - sign * 4 * max(sd, stage["resolution"]), 4)
    if sign * (bound - expected.beaten_baseline(stage)) < 0:
        raise ValueError(
            f"floor {bound} is looser than the baseline {stage['baseline']} with its margin "
            f"{stage['margin']}: improve the lesson or state a smaller margin"
        )
    return bound


def measured(stage: expected.Stage, values: dict[int, float]) -> dict[str, Any]:
    """The measured fields of a stage from its value for each seed (two or more)."""
    mean = round(statistics.mean(values.values()), 5)
    sd = round(statistics.stdev(values.values()), 5)
    return dict(zip(MEASURED, (list(values), mean, sd, floor(stage, mean, sd)), strict=True))


def rewrite(text: str, lesson: str, stage: str, numbers: dict[str, Any]) -> str:
    """`text` of expected.toml with `numbers` in the table of that stage; the rest stays as it is.

    ValueError if there is no such table.
    """
    key = f'"{lesson}"' if "/" in lesson else lesson
    header = f'[{key}.stages."{stage}"]'
    lines = text.splitlines()
    if header not in lines:
        raise ValueError(f"tests/expected.toml has no table {header}")
    start = lines.index(header)
    rest = range(start + 1, len(lines))
    end = next((i for i in rest if not lines[i] or lines[i].startswith("[")), len(lines))
    kept = [line for line in lines[start:end] if line.split(" =")[0] not in numbers]
    lines[start:end] = kept + [f"{key} = {value}" for key, value in numbers.items()]
    return "\n".join(lines) + "\n"


def _values(name: str, seeds: Sequence[int], out: Path) -> dict[int, dict[str, float]]:
    """Seed to what the notebook recorded with it. ValueError if a run fails."""
    tasks = []
    for seed in seeds:
        line = ["--only", name, "--seed", str(seed), "--out", str(out / str(seed))]
        args = run.parser().parse_args(line)
        tasks += run.tasks_for(args)
    outcomes = run.run_all(tasks, jobs=1)
    for seed, outcome in zip(seeds, outcomes, strict=True):
        if outcome.error:
            raise ValueError(f"{name} failed with seed {seed}:\n{outcome.error}")
    return {seed: o.recorded for seed, o in zip(seeds, outcomes, strict=True)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, measure, rewrite; the exit code."""
    parser = argparse.ArgumentParser("python -m tools.floors", description=__doc__)
    parser.add_argument("lesson")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    args = parser.parse_args(argv)
    try:
        if len(args.seeds) < 2:
            raise ValueError("a spread needs two seeds or more")
        _update(args.lesson, args.seeds)
    except ValueError as e:
        print(f"floors: {e}", file=sys.stderr)
        return 1
    return 0


def _update(lesson: str, seeds: Sequence[int]) -> None:
    stages = expected.load(expected.EXPECTED).get(lesson, {}).get("stages", {})
    if not stages:
        raise ValueError(f"tests/expected.toml has no stages of {lesson}: write them first")
    with tempfile.TemporaryDirectory() as out:
        recorded = _values(lesson, seeds, Path(out))
    text = expected.EXPECTED.read_text("utf-8")
    for name, stage in stages.items():
        if "exact" not in stage:
            numbers = measured(stage, _of_stage(name, recorded))
            text = rewrite(text, lesson, name, numbers)
            print(f"{name}: mean {numbers['mean']}, sd {numbers['sd']}, floor {numbers['floor']}")
    expected.EXPECTED.write_text(text, "utf-8")


def _of_stage(name: str, recorded: dict[int, dict[str, float]]) -> dict[int, float]:
    missing = [seed for seed, stages in recorded.items() if name not in stages]
    if missing:
        raise ValueError(f"the notebook does not record {name!r} (seed {missing[0]})")
    return {seed: stages[name] for seed, stages in recorded.items()}


if __name__ == "__main__":
    sys.exit(main())
