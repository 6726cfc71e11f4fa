"""What each full data set is: `data/registry.toml` as dataclasses."""

import tomllib
from dataclasses import dataclass, field

from course_utils import files

__all__ = ["DataError", "Dataset", "load"]


class DataError(RuntimeError):
    """A data set cannot be had; the message names the thing and the mend."""


@dataclass(frozen=True)
class Dataset:
    """One data set: `layout` maps a glob to its full count (files; rows where it is a table)."""

    name: str
    title: str
    archives: list[str]
    layout: dict[str, int]
    licence: str
    citation: str
    urls: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    by_hand: str = ""


def load() -> dict[str, Dataset]:
    """Read the registry: data set name -> Dataset, in the order of the file."""
    table = tomllib.loads((files.ROOT / "data" / "registry.toml").read_text("utf-8"))
    return {name: Dataset(name=name, **entry) for name, entry in table.items()}
