"""Folders that appear whole or not at all, and a full disk that says how much room it lacks."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_utils.data.registry import DataError

__all__ = ["DiskFull", "merge", "publish", "room", "workspace"]


class DiskFull(DataError):
    """No other source of the data would mend this."""


@contextmanager
def room(needed: int, place: Path) -> Iterator[None]:
    """For writing `needed` bytes to `place`: a full disk becomes a `DiskFull` that names both."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        while place.name.startswith("."):  # a workspace, which will be gone
            place = place.parent
        raise DiskFull(f"the disk of {place} is full: {needed / 1e6:,.1f} MB needed") from error


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """An empty hidden folder beside `folder`; in the end it goes with all left inside it."""
    work = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.part")
    try:
        work.mkdir(parents=True)
    except PermissionError as error:
        raise DataError(
            f"{folder.parent}: no leave to write ({error.filename}); of an installed course_utils, "
            "COURSE_HOME names the folder for data"
        ) from error
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
