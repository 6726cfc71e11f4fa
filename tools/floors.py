"""Measure notebooks with several seeds and write their floors into tests/expected.toml.

`python -m tools.floors lesson1-dogscats --seeds 1 2 3 4 5`; the runs are a sweep (tools/sweep.py) into .runs/floors.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from tools import expected, run, sweep

__all__ = ["floor", "main", "measured", "rewrite"]

OUT = expected.ROOT / ".runs" / "floors"
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run, measure, rewrite; the exit code: 1 if a run failed or a floor was refused, the others being written."""
    parser = argparse.ArgumentParser("python -m tools.floors", description=__doc__)
    parser.add_argument("lessons", nargs="+", metavar="NAME")
    sweep.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        stages = {name: _stages(name) for name in args.lessons}
        if len(args.seeds) < 2:
            raise ValueError("a spread needs two seeds or more")
    except ValueError as e:
        print(f"floors: {e}", file=sys.stderr)
        return 1
    problems = [text for text in sweep.sweep_as_told(args, args.lessons, OUT).values() if text]
    if not problems:
        problems = [
            line for name in args.lessons for line in _update(name, stages[name], args.seeds)
        ]
    for text in problems:
        print(f"floors: {text}", file=sys.stderr)
    return int(bool(problems))


def _stages(lesson: str) -> dict[str, expected.Stage]:
    """The stages of a lesson that have floors."""
    stages = expected.load(expected.EXPECTED).get(lesson, {}).get("stages", {})
    if not stages:
        raise ValueError(f"tests/expected.toml has no stages of {lesson}: write them first")
    return {name: stage for name, stage in stages.items() if "exact" not in stage}


def _update(lesson: str, stages: dict[str, expected.Stage], seeds: Sequence[int]) -> list[str]:
    """Write the floors of a lesson; a line for each stage that has none."""
    values = {seed: run.recorded(OUT / str(seed), lesson, "sample") for seed in seeds}
    text, refused = expected.EXPECTED.read_text("utf-8"), []
    for name, stage in stages.items():
        try:
            numbers = measured(stage, _of_stage(name, values))
        except ValueError as e:
            refused.append(f"{lesson}, {name}: {e}")
        else:
            text = rewrite(text, lesson, name, numbers)
            print(
                f"{lesson}, {name}: mean {numbers['mean']}, sd {numbers['sd']}, floor {numbers['floor']}"
            )
    expected.EXPECTED.write_text(text, "utf-8")
    return refused


def _of_stage(name: str, values: dict[int, dict[str, float]]) -> dict[int, float]:
    missing = [seed for seed, stages in values.items() if name not in stages]
    if missing:
        raise ValueError(f"the notebook does not record it (seed {missing[0]})")
    return {seed: stages[name] for seed, stages in values.items()}


if __name__ == "__main__":
    sys.exit(main())
