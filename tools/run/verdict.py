"""What a run must reach: tests/expected.toml by measurement, course_utils/original.toml by name."""

import math
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tools import ROOT

__all__ = [
    "EXPECTED",
    "ORIGINAL",
    "Exact",
    "Floor",
    "Lesson",
    "Original",
    "load_expected",
    "load_originals",
    "problems",
]

EXPECTED = ROOT / "tests" / "expected.toml"
ORIGINAL = ROOT / "course_utils" / "original.toml"


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A value that differs from run to run: no worse than the floor, measured with some seeds.

    The keys are explained at the top of tests/expected.toml.
    """

    better: str
    baseline: float
    margin: float
    resolution: float
    sample_only: bool = False
    seeds: tuple[int, ...] = ()
    mean: float | None = None
    sd: float | None = None
    floor: float | None = None
    small: Self | None = None  # on the small set, where that has numbers of its own

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.better == "higher" else -1

    @property
    def beaten_baseline(self) -> float:
        """The baseline improved by the margin: the loosest floor that still says something."""
        return self.baseline + self.sign * self.margin

    def limit(self, size: str) -> float:
        """The floor on the sample or the small set, where there is one; else a beaten baseline."""
        stage = self._of(size)
        has_floor = size == "sample" or stage is self.small
        if has_floor and stage.floor is not None:
            return stage.floor
        return stage.beaten_baseline

    def _of(self, size: str) -> Self:
        return self.small if size == "small" and self.small is not None else self

    def reached(self, value: float, size: str) -> bool:
        """Whether `value` is as good as the limit or better. NaN is not."""
        if size != "sample" and self._of(size).sample_only:
            return True  # photos may answer otherwise than drawings
        return self.sign * value >= self.sign * self.limit(size)


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A value that does not depend on the run: met within the tolerance."""

    exact: float
    tolerance: float

    def limit(self, size: str) -> float:
        """The value itself."""
        return self.exact

    def reached(self, value: float, size: str) -> bool:
        """Whether `value` is the right one. NaN is not."""
        return math.isclose(value, self.exact, rel_tol=0, abs_tol=self.tolerance)


@dataclass(frozen=True)
class Lesson:
    """What a lesson must reach; `key`: the stage that tables of one row a lesson show."""

    key: str
    stages: dict[str, Floor | Exact]


@dataclass(frozen=True)
class Original:
    """What a stage was in the video, or in the notebook of 2017, and why ours can differ."""

    video: float
    why: str


def load_expected(path: Path = EXPECTED) -> dict[str, Lesson]:
    """What each lesson must reach; nothing if there is no such file.

    ValueError that names the stage if one of its keys is unknown or missing.
    """
    return {
        lesson: Lesson(
            table["key"],
            {name: _stage(f"{lesson}, {name}", keys) for name, keys in table["stages"].items()},
        )
        for lesson, table in _tables(path).items()
    }


def load_originals(path: Path = ORIGINAL) -> dict[str, dict[str, Original]]:
    """Lesson to stage to what the original shows; nothing if there is no such file."""
    return {
        lesson: {name: Original(**keys) for name, keys in stages.items()}
        for lesson, stages in _tables(path).items()
    }


def _tables(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


def _stage(name: str, keys: dict[str, Any]) -> Floor | Exact:
    try:
        if "exact" in keys:
            return Exact(**keys)
        stage = Floor(**keys | {"small": None})
        if "small" not in keys:
            return stage
        unmeasured = replace(stage, sample_only=False, seeds=(), mean=None, sd=None, floor=None)
        return replace(stage, small=replace(unmeasured, **keys["small"]))
    except TypeError as e:  # Floor.__init__() got an unexpected keyword argument 'flor'
        raise ValueError(f"{name}: {str(e).partition('() ')[2]}") from None


def problems(
    recorded: dict[str, float],
    lesson: Lesson | None,
    original: dict[str, Original],
    size: str,
) -> list[str]:
    """One line for each stage that is missing from `recorded` or worse than its limit."""
    stages = lesson.stages if lesson else {}
    names = dict.fromkeys([*stages, *original])  # once each, in this order
    missing = [f"stage {name!r} is not recorded" for name in names if name not in recorded]
    worse = [
        f"{name!r} is {recorded[name]:.6g}, worse than {stage.limit(size):.6g}"
        for name, stage in stages.items()
        if name in recorded and not stage.reached(recorded[name], size)
    ]
    return missing + worse
