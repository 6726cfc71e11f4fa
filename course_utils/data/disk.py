"""Folders that appear whole or not at all, made by one process; a full disk that says so."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from course_utils.data.registry import DataError
from course_utils.files import is_full_disk, locked

__all__ = [
    "Bounded",
    "DiskFull",
    "alone",
    "in_words",
    "link_or_copy",
    "merge",
    "publish",
    "room",
    "workspace",
]


class DiskFull(DataError):
    """No other source of the data would mend this."""


@contextmanager
def room(needed: int | None, place: Path) -> Iterator[None]:
    """For writing `needed` bytes to `place`: a full disk becomes a `DiskFull` that names both.

    None: nobody knows how many.
    """
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise _disk_full(needed, place) from error


def _disk_full(needed: int | None, place: Path) -> DiskFull:
    while place.name.startswith("."):  # a workspace, which will be gone
        place = place.parent
    wanted = "make room there" if needed is None else f"{in_words(needed)} needed"
    return DiskFull(f"the disk of {place} is full: {wanted}")


def in_words(size: int) -> str:
    """A number of bytes, in MB where there are so many that it is no 0.0."""
    if size >= 100_000:
        return f"{size / 1e6:,.1f} MB"
    return f"{size / 1e3:,.1f} kB" if size >= 1000 else f"{size} bytes"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While no other process makes `folder`; what killed ones have left beside it goes first."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise DataError(
                f"{folder.parent}: no leave to write ({error.filename}); of an installed "
                "course_utils, COURSE_HOME names the folder for data"
            ) from error
        _sweep(folder)
        yield


def _sweep(folder: Path) -> None:
    """Remove each workspace of `folder`: its process is dead, else it would hold the lock."""
    ours = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{8}}\.part")
    for path in list(folder.parent.iterdir()):
        if ours.fullmatch(path.name) and not (path / "old").exists():
            # Before there were locks, a sample's old folder was there, with a learner's weights.
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """An empty hidden folder beside `folder`; in the end it goes with all left inside it."""
    work = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.part")
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def publish(made: Path, folder: Path) -> None:
    """Rename `made` to `folder` in one step, unless another process was there first."""
    try:
        made.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise


def merge(source: Path, target: Path) -> None:
    """Move all that is in `source` into `target`, pouring folders of one name together."""
    for path in sorted(source.iterdir()):
        there = target / path.name
        if path.is_dir() and there.is_dir():
            merge(path, there)
        else:
            path.replace(there)


def link_or_copy(source: Path, target: Path) -> None:
    """A second name of a file, or a copy of it where there can be none."""
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):  # the second on Windows
        shutil.copy2(source, target, follow_symlinks=False)


class Bounded:
    """A stream to read; DataError `refusal` once it has given more than `most` bytes."""

    def __init__(self, stream: BinaryIO, most: int, refusal: str) -> None:
        self.stream = stream
        self.most = most
        self.refusal = refusal
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        """As that of the stream."""
        data = self.stream.read(size)
        self.given += len(data)
        if self.given > self.most:
            raise DataError(self.refusal)
        return data
