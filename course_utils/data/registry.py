"""What each full data set is: `data/registry.toml` as dataclasses."""

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field

from course_utils.core import ROOT

__all__ = ["ROOT", "DataError", "Dataset", "choose", "load"]


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
    table = tomllib.loads((ROOT / "data" / "registry.toml").read_text("utf-8"))
    return {name: Dataset(name=name, **entry) for name, entry in table.items()}


def choose(what: str, value: str, known: Iterable[str]) -> str:
    """Return `value` if it is known; ValueError with the nearest and all known ones, in one line, if not."""
    if value in (known := list(known)):
        return value
    names = sorted(map(str, known))
    hint = "".join(f" did you mean {near!r}?" for near in difflib.get_close_matches(str(value), names, n=1))
    raise ValueError(f"unknown {what} {value!r};{hint} known: {' '.join(', '.join(names).split())}")
