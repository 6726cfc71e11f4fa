"""Where things lie: data, work folders, files written whole or not at all, tables read."""

import errno
import glob
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

__all__ = [
    "ROOT",
    "SIZES",
    "atomic",
    "given",
    "inside",
    "is_checkout",
    "is_full_disk",
    "locked",
    "place_name",
    "read_csv",
    "sweep_parts",
    "work_dir",
    "work_file",
    "work_places",
]

SIZES = ("sample", "small", "full")  # of data sets, and so of runs


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
"""Data and work files go to ROOT/data, records to ROOT/.runs (see data/README.md)."""


def work_dir(path: str | Path) -> Path:
    """Where weights, activations and small copies of the data in `path` go.

    That is `path` itself, as in the videos, if it is a folder of the user's that can be written
    to. The samples and full sets of this package can be built anew, and COURSE_DATA is only read:
    for these, ROOT/data/work has a folder for each data set; or COURSE_WORK, if it names one.
    """
    path = Path(path)
    shared = os.environ.get("COURSE_WORK")
    if shared:
        return Path(shared).expanduser() / place_name(path)
    if os.access(path, os.W_OK) and not _is_only_read(path):
        return path
    return _own_work(path)


def _own_work(path: Path) -> Path:
    return ROOT / "data" / "work" / place_name(path)


def _is_only_read(path: Path) -> bool:
    """Whether a folder can be built or fetched again, or is of COURSE_DATA; also through links."""
    only_read = [ROOT / "data" / size for size in SIZES]
    only_read += given("COURSE_DATA")
    ways = [Path(os.path.abspath(path)), path.resolve()]
    for folder in only_read:
        ends = [Path(os.path.abspath(folder)), folder.resolve()]
        if any(way.is_relative_to(end) for way in ways for end in ends):
            return True
    return False


def place_name(path: Path) -> str:
    """A folder's name, and a key of where it lies: no two folders share it."""
    place = path.resolve()
    key = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
    return f"{place.name}-{key}"


def work_places(path: str | Path) -> list[Path]:
    """`work_dir(path)`, and where work files of these data went before.

    Before COURSE_WORK was set, that is, or the data became read-only; or in earlier versions.
    """
    path = Path(path)
    earlier = ROOT / ".runs" / "work" / place_name(path)
    return list(dict.fromkeys([work_dir(path), path, _own_work(path), earlier]))


def work_file(path: str | Path, name: str) -> Path:
    """The file `name` in `work_dir(path)`; or, if there is none, in another of `work_places`."""
    files = [place / name for place in work_places(path)]
    there = [file for file in files if file.exists()]
    return (there or files)[0]


def is_full_disk(error: OSError) -> bool:
    """Whether it says that there is no room: none at all, or none within this user's quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(file: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes `file` in the end, or goes away on an error.

    An OSError that names no file, as of a full disk, comes out with the name of this one.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    own = os.urandom(4).hex()  # a process number is not unique where containers share a folder
    part = file.with_name(f".{file.name}.{own}.part")
    try:
        yield part
        part.replace(file)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        part.unlink(missing_ok=True)


def sweep_parts(file: Path, older_than: float = 86_400) -> None:
    """Delete temporary files of `file` that nobody writes any more: their process was killed.

    `older_than`: seconds since the last write; 0 for whoever holds the lock of `file`.
    """
    for part in file.parent.glob(f".{glob.escape(file.name)}.????????.part"):
        with suppress(FileNotFoundError):  # another process sweeps as well
            if time.time() - part.stat().st_mtime >= older_than:
                part.unlink()


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
