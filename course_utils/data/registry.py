"""What each full data set is: `registry.toml`, beside this file, as dataclasses.

A `Dataset` can be had in several ways, its `alternatives`. Each of them is a list of `Archive`s
that belong together: most have one, some come in parts.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

__all__ = ["REGISTRY", "Archive", "DataError", "Dataset", "Rows", "Small", "load"]

REGISTRY = Path(__file__).with_name("registry.toml")


class DataError(RuntimeError):
    """A data set cannot be had; the message names the thing and the mend."""


@dataclass(frozen=True)
class Archive:
    """A file to unpack; `name` is its path below COURSE_MIRROR and below data/archives."""

    name: str
    urls: list[str] = field(default_factory=list)  # in the order tried
    sha256: str | None = None  # None: not known, the layout is the check
    bytes: int | None = None  # a download of another size is refused; None: not known
    prefix: str | None = None  # md5 of the first 2**20 bytes, or of all if there are fewer
    convert: str | None = None  # the name of a converter (`data.convert`)


@dataclass(frozen=True)
class Rows:
    """The rows of a table that a small set keeps, and what belongs to them."""

    table: str
    key: str  # the column that names a row
    by: list[str]  # columns; rows that agree in all of them are a group
    each: int = 0  # rows of a group
    share: float = 0  # where `each` is 0: this part of a group, rounded up
    always: list[str] = field(default_factory=list)  # keys kept in any case
    tables: list[str] = field(default_factory=list)  # others, which keep the rows of these keys
    file: str = ""  # the path of a row's file, with {column} in it


@dataclass(frozen=True)
class Small:
    """What of the full set is in the small one."""

    version: int  # a higher one has the set made anew
    files: dict[str, int] = field(default_factory=dict)  # glob -> so many in each folder
    whole: list[str] = field(default_factory=list)  # globs of what is copied as it is
    rows: Rows | None = None
    digits: dict[str, int] = field(default_factory=dict)  # "train" or "t10k" -> so many of each


@dataclass(frozen=True)
class Dataset:
    """One data set; `layout` and `optional` map a glob to its full count (rows of a table)."""

    name: str
    title: str
    licence: str
    citation: str
    alternatives: list[list[Archive]]  # in the order tried; archives in one list belong together
    layout: dict[str, int]  # none of these is an error
    optional: dict[str, int] = field(default_factory=dict)  # none of these is a remark
    moves: dict[str, str] = field(default_factory=dict)  # start of a path in the archive -> here
    editions: dict[str, dict[str, int]] = field(default_factory=dict)  # name -> its own counts
    by_hand: str = ""
    small: Small | None = None


def load() -> dict[str, Dataset]:
    """Read the registry: data set name -> Dataset, in the order of the file."""
    tables = tomllib.loads(REGISTRY.read_text("utf-8"))
    return {name: _dataset(name, table) for name, table in tables.items()}


def _dataset(name: str, table: dict[str, Any]) -> Dataset:
    """A table of the file, where addresses and hashes stand under the names of the archives."""
    urls = table.pop("urls", {})
    sha256 = table.pop("sha256", {})
    sizes = table.pop("bytes", {})
    prefixes = table.pop("prefix", {})
    converters = table.pop("convert", {})
    alternatives = []
    for names in table.pop("alternatives"):
        together = [names] if isinstance(names, str) else names
        archives = []
        for n in together:
            _require_inside(name, n)
            archive = Archive(
                name=n,
                urls=urls.get(n, []),
                sha256=sha256.get(n),
                bytes=sizes.get(n),
                prefix=prefixes.get(n),
                convert=converters.get(n),
            )
            archives.append(archive)
        alternatives.append(archives)
    _require_inside(name, name)
    for place in table.get("moves", {}).values():
        _require_inside(name, place)
    small = _small(table.pop("small")) if "small" in table else None
    return Dataset(name=name, alternatives=alternatives, small=small, **table)


def _small(table: dict[str, Any]) -> Small:
    rows = Rows(**table.pop("rows")) if "rows" in table else None
    return Small(rows=rows, **table)


def _require_inside(dataset: str, name: str) -> None:
    """DataError if a path of the registry leads out of the folder that it is meant for."""
    path = PureWindowsPath(name)  # knows drives and both slashes
    if path.anchor or ".." in path.parts:
        raise DataError(f"{REGISTRY.name}: {dataset}: {name!r} leads out of its folder")
