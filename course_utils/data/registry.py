"""What each full data set is: `registry.toml`, beside this file, as dataclasses.

A `Dataset` can be had in several ways, its `alternatives`. Each of them is a list of `Archive`s
that belong together: most have one, some come in parts.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

__all__ = ["REGISTRY", "Archive", "DataError", "Dataset", "load"]

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
    return Dataset(name=name, alternatives=alternatives, **table)


def _require_inside(dataset: str, name: str) -> None:
    """DataError if a path of the registry leads out of the folder that it is meant for."""
    path = PureWindowsPath(name)  # knows drives and both slashes
    if path.anchor or ".." in path.parts:
        raise DataError(f"{REGISTRY.name}: {dataset}: {name!r} leads out of its folder")
