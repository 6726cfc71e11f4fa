"""What a run must reach: tests/expected.toml by measurement, course_utils/original.toml by name."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.beside import REAL_SIZES

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
MEASURED = ("seeds", "mean", "sd", "floor")  # what tools/floors.py writes


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A value that differs from run to run: no worse than the floor, measured with some seeds.

    The keys are explained at the top of tests/expected.toml. Without a floor, the baseline must be
    beaten by the margin. `free`: any value will do on these data.
    """

    better: str
    baseline: float
    margin: float
    resolution: float
    free: bool = False
    seeds: tuple[int, ...] = ()
    mean: float | None = None
    sd: float | None = None
    floor: float | None = None

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.better == "higher" else -1

    @property
    def beaten_baseline(self) -> float:
        """The baseline improved by the margin: the loosest floor that still says something."""
        return self.baseline + self.sign * self.margin

    @property
    def limit(self) -> float:
        """What a value must reach."""
        return self.beaten_baseline if self.floor is None else self.floor

    def reached(self, value: float) -> bool:
        """Whether `value` is as good as the limit or better. NaN is not."""
        return self.free or self.sign * value >= self.sign * self.limit


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A value that does not depend on the run: met within the tolerance."""

    exact: float
    tolerance: float

    @property
    def limit(self) -> float:
        """The value itself."""
        return self.exact

    def reached(self, value: float) -> bool:
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


def load_expected(path: Path = EXPECTED, size: str = "sample") -> dict[str, Lesson]:
    """What each lesson must reach on data of that size; nothing if there is no such file.

    ValueError that names the stage if one of its keys is unknown or missing.
    """
    return {
        lesson: Lesson(
            table["key"],
            {
                name: _stage(f"{lesson}, {name}", _of_size(keys, size))
                for name, keys in table["stages"].items()
            },
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


def _of_size(keys: dict[str, Any], size: str) -> dict[str, Any]:
    """The keys of a stage as they count for a size: its own table, where there is one, goes first.

    What was measured on the sample says nothing of other data.
    """
    general = {key: value for key, value in keys.items() if key not in REAL_SIZES}
    of_sample_only = general.pop("sample_only", False)
    if size == "sample":
        return general
    unmeasured = {key: value for key, value in general.items() if key not in MEASURED}
    own = dict(keys.get(size, {"sample_only": of_sample_only}))
    free = {"free": True} if own.pop("sample_only", False) else {}
    return unmeasured | own | free


def _stage(name: str, keys: dict[str, Any]) -> Floor | Exact:
    try:
        return Exact(**keys) if "exact" in keys else Floor(**keys)
    except TypeError as e:  # Floor.__init__() got an unexpected keyword argument 'flor'
        raise ValueError(f"{name}: {str(e).partition('() ')[2]}") from None


def problems(
    recorded: dict[str, float],
    lesson: Lesson | None,
    original: dict[str, Original],
) -> list[str]:
    """One line for each stage that is missing from `recorded` or worse than its limit."""
    stages = lesson.stages if lesson else {}
    names = dict.fromkeys([*stages, *original])  # once each, in this order
    missing = [f"stage {name!r} is not recorded" for name in names if name not in recorded]
    worse = [
        f"{name!r} is {recorded[name]:.6g}, worse than {stage.limit:.6g}"
        for name, stage in stages.items()
        if name in recorded and not stage.reached(recorded[name])
    ]
    return missing + worse
