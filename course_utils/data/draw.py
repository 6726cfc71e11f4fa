"""Small sets: real data for minutes on a laptop, drawn from the full set, in its layout.

The recipe of each is in `registry.toml`. What is drawn depends on names alone, so every machine
has the same from the same source; a source with fewer files gives all it has. A set is made
once, whole or not at all, and keeps what a learner puts into its folder, as samples do.
"""

import hashlib
import logging
import math
import shutil
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from course_utils import files
from course_utils.choose import choose
from course_utils.data.fetch import find
from course_utils.data.registry import DataError, Dataset, Rows, Small
from course_utils.data.samples import built

__all__ = ["small"]

SEED = 1
BYTES = 0x800  # what files of bytes in idx format begin with, plus the number of axes


def small(entry: Dataset) -> Path:
    """Return the folder of a small set, drawn from the full one first if need be.

    DataError if the full set is nowhere, or has a table that lacks what the recipe names.
    """
    if entry.small is None:
        raise DataError(f"{entry.name}: there is no recipe of a small set")
    recipe = entry.small
    folder = files.ROOT / "data" / "small" / entry.name

    def build(target: Path) -> None:
        _draw(entry.name, recipe, find(entry), target)

    return built(folder, recipe.version, build)


def _draw(name: str, recipe: Small, source: Path, target: Path) -> None:
    """Copy what the recipe says from `source` into the empty folder `target`."""
    for pattern, n in recipe.files.items():
        for folder, found in _by_folder(source, pattern).items():
            drawn = _lowest(found, n)
            if len(drawn) < n:
                _tell(name, f"{len(drawn)} files of {n} in {folder}, all that {source} has")
            _copy(drawn, source, target)
    for pattern in recipe.whole:
        for found in _by_folder(source, pattern).values():
            _copy(found, source, target)
    if recipe.rows is not None:
        _draw_rows(recipe.rows, source, target)
    for part, n in recipe.digits.items():
        _draw_digits(part, n, source, target)


def _tell(name: str, text: str) -> None:
    logging.getLogger(__name__).warning(f"{name}, small: {text}")


def _rank(name: str) -> str:
    """A number, in hex digits, that is as good as random and the same on every machine."""
    return hashlib.sha256(f"{SEED} {name}".encode()).hexdigest()


def _lowest(names: list[str], n: int) -> list[str]:
    """`n` names at random, or all if there are fewer; of twice as many, most are the same."""
    return sorted(names, key=_rank)[:n]


def _by_folder(source: Path, pattern: str) -> dict[str, list[str]]:
    """Folder -> paths of the files in it that the glob finds, all of them below `source`."""
    found = defaultdict(list)
    for file in sorted(source.glob(pattern)):
        if file.is_file():
            path = file.relative_to(source)
            found[path.parent.as_posix()].append(path.as_posix())
    return found


def _copy(names: list[str], source: Path, target: Path) -> None:
    """Contents only: the source may be read-only, which its copy shall not be."""
    for name in names:
        copied = files.inside(target, name)  # names come out of tables as well
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, copied)


# --- tables ---


def _draw_rows(rows: Rows, source: Path, target: Path) -> None:
    table = _read(source / rows.table, [rows.key, *rows.by])
    if rows.file:
        table["file"] = [rows.file.format_map(row) for row in table.to_dict("records")]
        table = table[[(source / name).is_file() for name in table.file]]
    keys = _keys(table, rows)
    kept = table[table[rows.key].isin(keys)]
    _write(kept.drop(columns="file", errors="ignore"), target / rows.table)
    for name in rows.tables:
        other = _read(source / name, [rows.key])
        _write(other[other[rows.key].isin(keys)], target / name)
    if rows.file:
        try:
            _copy(list(kept.file), source, target)
        except ValueError as error:
            raise DataError(f"{source / rows.table}: {error}") from None


def _keys(table: pd.DataFrame, rows: Rows) -> set[str]:
    """The keys drawn of each group, and those that are kept in any case."""
    keys = set(rows.always)
    for _, group in table.groupby(rows.by):
        n = rows.each or math.ceil(rows.share * len(group))
        keys.update(_lowest(list(group[rows.key]), n))
    return keys


def _read(file: Path, columns: list[str]) -> pd.DataFrame:
    """A table of text as it stands in the file; DataError in one line if it lacks a column."""
    try:
        table = files.read_csv(file, dtype=str, keep_default_na=False)
        for column in columns:
            choose(f"column of {file}", column, table.columns)
    except (OSError, ValueError) as error:
        raise DataError(str(error)) from None
    return table


def _write(table: pd.DataFrame, file: Path) -> None:
    table.to_csv(file, index=False, lineterminator="\n")


# --- digits ---


def _draw_digits(part: str, n: int, source: Path, target: Path) -> None:
    """`n` of each digit of "train" or "t10k", in the order of the source."""
    from course_utils.digits import read_idx  # not above: torchvision takes long to import

    try:
        x, y = read_idx(source, part)  # (n_all, 28, 28), (n_all,)
    except ValueError as error:
        raise DataError(str(error)) from None
    numbers: list[int] = []
    for digit in range(10):
        having = np.flatnonzero(y == digit)
        numbers += [int(name) for name in _lowest([f"{i}" for i in having], n)]
    kept = sorted(numbers)
    _write_idx(x[kept], target / f"{part}-images-idx3-ubyte")
    _write_idx(y[kept], target / f"{part}-labels-idx1-ubyte")


def _write_idx(x: np.ndarray, file: Path) -> None:
    """Bytes behind a head: a number that names their kind and how many axes, and the lengths."""
    head = struct.pack(f">{1 + x.ndim}I", BYTES + x.ndim, *x.shape)
    file.write_bytes(head + x.tobytes())
