"""The records in results/ and in the folders of runs: what each JSON file holds."""

import json
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from course_utils.beside import record_files
from course_utils.files import atomic

from tools import ROOT

__all__ = [
    "RESULTS",
    "Contender",
    "Device",
    "Elapsed",
    "Fit",
    "Limits",
    "Made",
    "Run",
    "Speed",
    "Stage",
    "Tables",
    "read",
    "runs",
    "write",
]

RESULTS = ROOT / "results"

Record = TypeVar("Record")


@dataclass(frozen=True)
class Device:
    """Where it ran; `type`: cpu, cuda or mps."""

    type: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a record was made, as `course_utils.provenance` tells it."""

    device: Device
    versions: dict[str, str]
    commit: str | None
    data: str | None  # a fingerprint
    threads: int
    started: str

    @property
    def place(self) -> str:
        """The device for people: the GPU's name, or how many cores."""
        if self.device.type == "cuda":
            return self.device.name
        return "1 core" if self.threads == 1 else f"{self.threads} cores"


@dataclass(frozen=True)
class Stage:
    """A number that a lesson recorded, so many seconds after its start.

    `fits`: the rows of the fits since the stage before, as `course_utils.fits` writes them.
    """

    name: str
    value: float
    seconds: float
    fits: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Run(Made):
    """A run of a lesson, as `course_utils.results` writes it."""

    lesson: str
    size: str
    seed: int
    stages: list[Stage]
    memory_gb: float | None = None  # the most until the last stage; older records have none

    @property
    def values(self) -> dict[str, float]:
        """The value of each stage by its name."""
        return {stage.name: stage.value for stage in self.stages}


@dataclass(frozen=True)
class Contender:
    """Seconds of a first and of a later epoch, medians of the rounds; `rounds`: every epoch."""

    first: float
    later: float
    rounds: list[list[float]]
    busy_percent: list[float] = field(default_factory=list)  # with other things, before each round


@dataclass(frozen=True, kw_only=True)
class Speed(Made):
    """A comparison of `tools.bench`: an epoch of a task by each contender.

    `target`: how many times as fast as the slower one a later epoch must be, and a first one where
    `target_first` says so. `pictures`: how many there are in an epoch, where rates count.
    """

    cores: int
    size: str
    epoch: dict[str, Contender]
    target: float
    target_first: float | None = None
    pictures: int | None = None


@dataclass(frozen=True, kw_only=True)
class Fit(Made):
    """`Learner.fit`, and the bare loop: an epoch of the former may take `at_most` times as long."""

    cores: int
    epoch: dict[str, Contender]
    at_most: float


@dataclass(frozen=True)
class Elapsed:
    """Seconds of `get_elapsed` and of the loop over rows that it replaces."""

    whole_columns: float
    loop: float


@dataclass(frozen=True)
class Limits:
    """What lesson 3 may take, and how many times as fast as the loop `get_elapsed` must be."""

    seconds: float
    memory_gb: float
    times_a_loop: float


@dataclass(frozen=True, kw_only=True)
class Tables(Made):
    """What it took to go from the CSV files of lesson 3 to arrays."""

    cores: int
    size: str
    rows: int
    seconds: float
    memory_gb: float
    elapsed: Elapsed
    limits: Limits


def read(kind: type[Record], file: Path) -> Record:
    """The record of that kind in a file."""
    return _built(kind, json.loads(file.read_text("utf-8")))


def runs(folder: Path, lesson: str, size: str) -> list[Run]:
    """The records of a lesson in a folder of records, one a kind of device."""
    return [read(Run, file) for file in record_files(folder, lesson, size)]


def write(record: Made, file: Path) -> None:
    """Write a record, whole or not at all."""
    with atomic(file) as part:
        part.write_text(json.dumps(asdict(record), indent=1) + "\n", "utf-8")


def _built(kind: Any, value: Any) -> Any:
    """`value`, as JSON holds it, as a `kind`: dataclasses, and lists and dictionaries of them.

    Keys that the dataclass does not have are left out: an older record may say more.
    """
    inner = get_args(kind)
    if is_dataclass(kind):
        types = get_type_hints(kind)
        known = {name: _built(types[name], part) for name, part in value.items() if name in types}
        return kind(**known)  # type: ignore[operator]  # is_dataclass narrows it to an instance
    if get_origin(kind) is list:
        return [_built(inner[0], part) for part in value]
    if get_origin(kind) is dict:
        return {key: _built(inner[1], part) for key, part in value.items()}
    return value
