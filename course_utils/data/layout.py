"""The folder of a full data set: given the lesson's form, compared with the registry."""

import logging
import os
import re
from functools import cache
from pathlib import Path

from course_utils.data.registry import DataError, Dataset

__all__ = ["arranged", "note_missing", "remark", "require", "require_some"]

MISSING = ".missing"  # in a folder made without some archives: their names, a line each
_warn_once = cache(logging.getLogger(__name__).warning)


def arranged(unpacked: Path, entry: Dataset) -> Path:
    """The folder in `unpacked` where the data set begins, its files moved as the registry says."""
    top = _top(unpacked, entry)
    if entry.moves:
        _move(top, entry.moves)
    return top


def _top(unpacked: Path, entry: Dataset) -> Path:
    """`unpacked`, or the only folder in it, unless that is one of the data set, as `train` is."""
    there = [p for p in sorted(unpacked.iterdir()) if not p.name.startswith((".", "__MACOSX"))]
    own = {path.partition("/")[0] for path in [*entry.layout, *entry.optional, *entry.moves]}
    if len(there) == 1 and there[0].is_dir() and there[0].name not in own:
        return there[0]
    return unpacked


def _move(top: Path, moves: dict[str, str]) -> None:
    """Move each file whose path begins as one of `moves` says; the first that fits counts."""
    paths = list(top.rglob("*"))
    for file in [path for path in paths if path.is_file()]:
        name = file.relative_to(top).as_posix()
        place = _place(name, moves)
        if place != name:
            (top / place).parent.mkdir(parents=True, exist_ok=True)
            file.replace(top / place)
    folders = [path for path in paths if path.is_dir()]
    for folder in sorted(folders, reverse=True):  # what is in a folder comes before it
        if not any(folder.iterdir()):
            folder.rmdir()


def _place(name: str, moves: dict[str, str]) -> str:
    for start, place in moves.items():
        found = re.match(start, name)
        if found:
            return found.expand(place) + name[found.end() :]
    return name


def require(folder: Path, entry: Dataset, place: str) -> None:
    """DataError that names the first glob of the layout without a file, and `place`."""
    for pattern in entry.layout:
        if any(folder.glob(pattern)):
            continue
        barred = _barred(folder)
        if barred is not None:
            raise DataError(f"{entry.name}: {barred} cannot be read; get leave to read it")
        raise DataError(f"{entry.name}: no files match {pattern} in {place}")


def _barred(folder: Path) -> str | None:
    """The first folder in `folder` that may not be read, which a glob passes over in silence."""
    found: list[str] = []
    for _ in os.walk(folder, onerror=lambda error: found.append(error.filename)):
        if found:
            break
    return found[0] if found else None


def require_some(folder: Path, entry: Dataset, place: str) -> None:
    """DataError if not even one file is of this data set."""
    for pattern in entry.layout | entry.optional:
        if any(folder.glob(pattern)):
            return
    raise DataError(f"{entry.name}: none of its files is in {place}")


def remark(folder: Path, entry: Dataset) -> None:
    """Say, once, where the numbers are not those of the full set, and which archives it lacks."""
    wanted = entry.layout | entry.optional
    found = {pattern: _count(list(folder.glob(pattern))) for pattern in wanted}
    odd = [f"{p} {found[p]} of {wanted[p]}" for p in wanted if found[p] != wanted[p]]
    edition = _edition(found, entry)
    if odd and edition:
        _warn_once(f"{entry.name}: the edition {edition!r}, {', '.join(odd)}")
    elif odd:
        _warn_once(f"{entry.name}: reduced copy, {', '.join(odd)}{_without(folder)}")


def _edition(found: dict[str, int], entry: Dataset) -> str | None:
    """The edition whose counts are those found, if there is one."""
    for name, counts in entry.editions.items():
        if all(found[pattern] == count for pattern, count in counts.items()):
            return name
    return None


def note_missing(folder: Path, archives: list[str]) -> None:
    """Write down, in a hidden file, without which archives `folder` was made."""
    if archives:
        (folder / MISSING).write_text("\n".join(archives) + "\n", "utf-8")


def _without(folder: Path) -> str:
    stamp = folder / MISSING
    if not stamp.is_file():
        return ""
    names = " and ".join(stamp.read_text("utf-8").splitlines())
    return f", made without {names}; to have all, add what is missing and remove {folder}"


def _count(files: list[Path]) -> int:
    """Number of files or, of a single table, of its rows below the header."""
    if len(files) == 1 and files[0].suffix == ".csv":
        return len(files[0].read_bytes().splitlines()) - 1
    return len(files)
