"""Full data sets: found unpacked, or as archives on disk, in a mirror or on the web.

`find` goes through the places in order. A folder that is there is taken as it is. Else each
alternative of the data set is tried, those at hand first: every archive of it is found, verified,
unpacked and poured into one new folder, which appears when it is whole.
"""

import logging
import os
from pathlib import Path
from typing import NamedTuple

import requests

from course_utils import files
from course_utils.data import layout
from course_utils.data.convert import CONVERTERS
from course_utils.data.disk import DiskFull, alone, merge, publish, room, workspace
from course_utils.data.download import download
from course_utils.data.registry import Archive, DataError, Dataset
from course_utils.data.sums import read_sums, verify
from course_utils.data.unpack import unpack
from course_utils.files import given, locked

__all__ = ["find", "full"]


class _Nowhere(DataError):
    """There is no such archive."""


class _InVain(DataError):
    """An alternative cannot be had; why, stands in `_Search.tried` already."""


class _Source(NamedTuple):
    """Where an archive may be: in the folder `place`, or at `url`, to be downloaded to `place`."""

    place: Path
    url: str | None = None


def full(entry: Dataset) -> Path:
    """As `find`; where the numbers are not those of the full set, this is said once."""
    folder = find(entry)
    layout.remark(folder, entry)
    return folder


def find(entry: Dataset) -> Path:
    """Return the folder of a full data set; DataError lists each place tried and why it failed."""
    own = [folder / entry.name for folder in given("COURSE_DATA")]
    made = files.ROOT / "data" / "full" / entry.name
    for folder in own:
        _require_readable(folder)
    for folder in [*own, made]:
        if folder.is_dir():
            layout.require(folder, entry, f"{folder}; mend or remove that folder")
            return folder
    search = _Search(entry, made)
    if not own:
        search.tried.append("COURSE_DATA: not set")
    for folder in own:
        search.tried.append(f"COURSE_DATA={folder.parent}: no folder {entry.name}")
    with room(None, made), alone(made):
        if not made.is_dir():  # else another process was first
            search.run()
    return made


def _require_readable(folder: Path) -> None:
    """DataError if a data set's folder in COURSE_DATA, or what it lies in, may not be read."""
    try:
        for path in (folder.parent, folder):
            if os.path.isdir(path):
                os.listdir(path)
            else:
                path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise DataError(
            f"COURSE_DATA={folder.parent}: {folder} cannot be read ({error.strerror}); "
            "get leave to read it, or unset COURSE_DATA"
        ) from None


class _Search:
    """The search for the archives of one data set, out of which `folder` is made."""

    def __init__(self, entry: Dataset, folder: Path) -> None:
        self.entry = entry
        self.folder = folder
        self.store = files.ROOT / "data" / "archives"  # where downloads go
        self.places = [*given("COURSE_MIRROR"), self.store]
        self.tried: list[str] = []  # what was in vain, and why
        self.refused: list[str] = []  # of that, what was at hand

    def run(self) -> None:
        """Make `folder` of the first alternative that can be had; DataError if there is none."""
        for together in sorted(self.entry.alternatives, key=self._farness):
            try:
                self._install(together)
                self._warn()
                return
            except DiskFull:
                raise
            except _InVain:
                continue
            except DataError as error:
                self.tried.append(str(error))
        lines = [f"{self.entry.name}: not found. Tried:", *self.tried, self._by_hand()]
        raise DataError("\n  ".join(lines))

    def _farness(self, together: list[Archive]) -> tuple[int, int]:
        """Sorts alternatives: all in the first place, all in the next, some at hand, none."""
        far = []
        for archive in together:
            having = [
                i for i, place in enumerate(self.places) if os.path.isfile(place / archive.name)
            ]
            far.append(having[0] if having else len(self.places))
        return max(far), min(far)

    def _by_hand(self) -> str:
        """How a user can have the data set without our help."""
        ways = []
        for together in self.entry.alternatives:
            ways.append(" and ".join(archive.name for archive in together))
        line = f"By hand: put {' or '.join(ways)} into {self.store}, "
        line += f"or make the folder {self.folder} with {', '.join(self.entry.layout)}."
        return f"{line} {self.entry.by_hand}".rstrip()

    def _install(self, together: list[Archive]) -> None:
        """Make `folder`, whole or not at all, out of archives that belong together.

        One that is nowhere may be missing, if the others have a file for each glob of the layout.
        """
        missing = []
        with workspace(self.folder) as work:
            whole = work / "whole"
            whole.mkdir()
            for archive in together:
                if not self._pour(archive, whole, alone=len(together) == 1):
                    missing.append(archive.name)
            if len(missing) == len(together):
                raise _InVain
            layout.require(whole, self.entry, _origin(together, missing))
            layout.note_missing(whole, missing)
            publish(whole, self.folder)

    def _pour(self, archive: Archive, whole: Path, *, alone: bool) -> bool:
        """Pour what the first good copy of an archive holds into `whole`; False if there is none.

        _InVain if there are copies but no good one: a part that was refused is not missing.
        """
        refused = False
        sources = [_Source(place) for place in self.places]
        sources += [_Source(self.store, url) for url in archive.urls]
        for source in sources:
            try:
                with room(None, self.folder):
                    file = self._verified(archive, source)
                    self._pour_copy(archive, file, whole, alone=alone)
                return True
            except DiskFull:
                raise
            except (_Nowhere, requests.RequestException) as error:
                self._note(archive, source, error)
            except Exception as error:  # archives fail in many ways; the next copy may do
                self._note(archive, source, error)
                refused = True
        if refused:
            raise _InVain
        return False

    def _note(self, archive: Archive, source: _Source, error: Exception) -> None:
        """Write down why a source was in vain."""
        where = source.url or source.place / archive.name
        reason = " ".join(str(error).split()) or type(error).__name__  # in one line
        self.tried.append(f"{where}: {reason}")
        if source.url is None and not isinstance(error, _Nowhere):
            self.refused.append(f"{where}: {reason}")

    def _warn(self) -> None:
        """Another source did; but somebody put a bad archive where it is looked for first."""
        for line in dict.fromkeys(self.refused):
            logging.getLogger(__name__).warning(f"{self.entry.name}: passed over {line}")

    def _verified(self, archive: Archive, source: _Source) -> Path:
        """The file of an archive, downloaded if need be, its hash checked."""
        file = source.place / archive.name
        if source.url is None:
            if not file.is_file():
                raise _Nowhere("no such file")
            verify(file, archive.name, _expected(archive, source.place))
            return file
        before = _identity(file)  # one that was refused, if there is any
        with locked(file):
            if _identity(file) == before:  # else another process was first
                self._download(archive, source.url, source.place)
            else:
                verify(file, archive.name, _expected(archive, source.place))
        return file

    def _download(self, archive: Archive, url: str, place: Path) -> None:
        file = place / archive.name
        part = download(url, file, archive.bytes, archive.prefix)
        try:
            verify(part, archive.name, _expected(archive, place))
        except DataError:
            part.unlink()  # what was just downloaded; an archive put there by hand stays
            raise
        part.replace(file)

    def _pour_copy(self, archive: Archive, file: Path, whole: Path, *, alone: bool) -> None:
        """Unpack and convert one file; if it is the archive expected, pour it into `whole`."""
        place = f"{file.name}; the archive is not the one expected"
        part = whole.with_name("part")
        with workspace(part) as came, workspace(part) as made:
            unpack(file, came)
            if archive.convert:
                CONVERTERS[archive.convert](came, made)
            top = layout.arranged(made if archive.convert else came, self.entry)
            if alone:
                layout.require(top, self.entry, place)
            else:
                layout.require_some(top, self.entry, place)
            merge(top, whole)


def _expected(archive: Archive, place: Path) -> str | None:
    """The sha256 in SHA256SUMS in `place`, which is binding, else the registry's, if known."""
    sums = read_sums(place)
    return sums.expected(archive.name) if sums else archive.sha256


def _identity(file: Path) -> tuple[int, int] | None:
    """Changes when another file takes its place; None if there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _origin(together: list[Archive], missing: list[str]) -> str:
    """Of which archives a folder was made, for a message."""
    there = [archive.name for archive in together if archive.name not in missing]
    if not missing:
        return f"{' and '.join(there)}; the archives are not those expected"
    return f"{' and '.join(there)}; {' and '.join(missing)} is missing"
