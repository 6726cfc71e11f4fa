"""What a run must reach: the stages of tests/expected.toml and course_utils/original.toml."""

import math
import tomllib
from pathlib import Path
from typing import Any

__all__ = [
    "EXPECTED",
    "ORIGINAL",
    "ROOT",
    "beaten_baseline",
    "limit",
    "load",
    "problems",
    "reaches",
]

ROOT = Path(__file__).resolve().parents[1]
EXPECTED = ROOT / "tests" / "expected.toml"
ORIGINAL = ROOT / "course_utils" / "original.toml"

Stage = dict[str, Any]


def load(path: Path) -> dict[str, Any]:
    """The tables of a TOML file by lesson; nothing if there is no such file."""
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


def beaten_baseline(stage: Stage) -> float:
    """The baseline improved by the margin: the loosest floor that still says something."""
    sign = 1 if stage["better"] == "higher" else -1
    return stage["baseline"] + sign * stage["margin"]


def limit(stage: Stage, size: str) -> float:
    """What `stage` must reach: its floor on the sample, else the beaten baseline; or exactly."""
    if "exact" in stage:
        return stage["exact"]
    if size == "sample" and "floor" in stage:
        return stage["floor"]
    return beaten_baseline(stage)


def reaches(stage: Stage, size: str, value: float) -> bool:
    """Whether `value` is as good as `limit(stage, size)` or better. NaN is not."""
    bound = limit(stage, size)
    if "exact" in stage:
        return math.isclose(value, bound, rel_tol=0, abs_tol=stage["tolerance"])
    return value >= bound if stage["better"] == "higher" else value <= bound


def problems(
    recorded: dict[str, float], stages: dict[str, Stage], original: dict[str, Any], size: str
) -> list[str]:
    """One line for each stage that is missing from `recorded` or worse than its limit.

    `stages` and `original` are a lesson's tables in tests/expected.toml and course_utils/original.toml. A stage
    with `sample_only` asks what photos may answer otherwise than drawings: on the full data it must be recorded, no more.
    """
    names = list(dict.fromkeys([*stages, *original]))
    missing = [f"stage {name!r} is not recorded" for name in names if name not in recorded]
    worse = [
        f"{name!r} is {recorded[name]:.6g}, worse than {limit(stage, size):.6g}"
        for name, stage in stages.items()
        if name in recorded
        and not reaches(stage, size, recorded[name])
        and not (size != "sample" and stage.get("sample_only"))
    ]
    return missing + worse
