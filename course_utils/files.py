"""Where things lie: data, work folders, files written whole or not at all, tables read."""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

__all__ = [
    "ROOT",
    "atomic",
    "given",
    "inside",
    "is_checkout",
    "locked",
    "place_name",
    "read_csv",
    "work_dir",
    "work_file",
]


def is_checkout(folder: Path) -> bool:
    """Whether `folder` is a copy of the repository, with its notebooks and its folder of data."""
    return (folder / "nbs" / "video_timeline.yml").is_file() and (folder / "data").is_dir()


def _root() -> Path:
    """The checkout that this package is part of; of an installed one, a folder of the user's."""
    beside = Path(__file__).resolve().parents[1]
    if is_checkout(beside):
        return beside
    home = os.environ.get("COURSE_HOME")
    if home:
        return Path(home).expanduser().absolute()
    here = Path.cwd()
    for folder in [here, *here.parents]:  # a kernel starts in the folder of its notebook
        if is_checkout(folder):
            return folder
    shared = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(shared).absolute() / "course-utils"


ROOT: Path = _root()
"""Data go to ROOT/data, records and work files to ROOT/.runs (see data/README.md)."""


def work_dir(path: str | Path) -> Path:
    """Where weights, activations and small copies of the data in `path` go.

    That is `path` itself, unless COURSE_WORK names a folder for all data sets, or `path` is
    read-only (then ROOT/.runs/work): in these, each data set has a folder of its own.
    """
    path = Path(path)
    shared = os.environ.get("COURSE_WORK")
    if shared:
        return Path(shared) / place_name(path)
    if os.access(path, os.W_OK):
        return path
    return ROOT / ".runs" / "work" / place_name(path)


def place_name(path: Path) -> str:
    """A folder's name, and a key of where it lies: no two folders share it."""
    place = path.resolve()
    key = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
    return f"{place.name}-{key}"


def work_file(path: str | Path, name: str) -> Path:
    """The file `name` in `work_dir(path)`; or the one that was written beside the data before.

    Before COURSE_WORK was set, that is, or the data became read-only.
    """
    file = work_dir(path) / name
    beside = Path(path) / name
    if beside.exists() and not file.exists():
        return beside
    return file


@contextmanager
def atomic(file: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes `file` in the end, or goes away on an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    own = os.urandom(4).hex()  # a process number is not unique where containers share a folder
    part = file.with_name(f".{file.name}.{own}.part")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def locked(thing: Path) -> Iterator[None]:
    """What is made once: wait while another process makes `thing`. Then look whether it is there.

    The lock is a file beside it, .NAME.lock, which stays; a process that dies lets go of it.
    """
    thing.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(thing.with_name(f".{thing.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger(__name__).warning(f"{thing}: waiting for another process that makes it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def inside(folder: str | Path, name: str) -> Path:
    """The file `name` of `folder`, for a name that comes from outside.

    ValueError for one that leads elsewhere: "../x", "/x", a drive of Windows, by way of a link.
    """
    file = Path(folder) / name
    plain = PureWindowsPath(name)  # splits at / and at \, and knows drives
    leaves = not plain.parts or plain.anchor or ".." in plain.parts or "\0" in name
    if leaves or not file.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{name!r} is no name inside {folder}: it must not lead out of it")
    return file


def read_csv(file: str | Path, **options: Any) -> pd.DataFrame:
    """A CSV file as a table; ValueError that names it if it is empty, not UTF-8 or no table."""
    try:
        table = pd.read_csv(file, **options)
    except ValueError as error:  # all of pandas' own are
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{file}: not a readable CSV file ({reason})") from None
    if table.empty:
        raise ValueError(f"{file}: not a readable CSV file (it has no rows)")
    return table


def given(variable: str) -> list[Path]:
    """The folder that an environment variable names, if it is set; relative to ROOT."""
    value = os.environ.get(variable)
    return [ROOT / Path(value).expanduser()] if value else []
