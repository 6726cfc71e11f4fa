"""One archive into a folder: first all of its members are looked at, then they are written."""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from course_utils.data.disk import room
from course_utils.data.registry import DataError

__all__ = ["Member", "members", "unpack"]

PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)  # 0: packed on a system without such modes
GZIP_BYTES = 18  # of head and end, and nothing between them
BARE = (".csv", ".txt")  # a file that is no archive


class Member(NamedTuple):
    """What unpacking writes: a file or folder."""

    name: str
    size: int  # bytes
    plain: bool  # no link, no device


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .zip, .tar, .tgz, .tar.gz, .tar.xz or a single file (.gz or bare) into a folder.

    DataError, before anything is written, if a member is a link or a device or leads out of it.
    """
    found = members(archive)
    for member in found:
        _refuse(member, archive)
    with room(sum(member.size for member in found), target):
        _write(archive, target)


def _refuse(member: Member, archive: Path) -> None:
    path = PureWindowsPath(member.name)  # knows drives and both slashes
    if not member.plain:
        fault = "is a link or a device"
    elif path.anchor or ".." in path.parts:
        fault = "leads out of its folder"
    else:
        return
    raise DataError(f"{archive.name} refused: its member {member.name!r} {fault}")


def _write(archive: Path, target: Path) -> None:
    if archive.suffix in BARE:
        shutil.copy(archive, target)
    elif _is_single(archive):
        with gzip.open(archive) as source, (target / archive.stem).open("wb") as out:
            shutil.copyfileobj(source, out)
    elif archive.suffix == ".zip":
        shutil.unpack_archive(archive, target)
    else:
        shutil.unpack_archive(archive, target, filter="data")


def members(archive: Path) -> list[Member]:
    """Each thing that unpacking would write."""
    if archive.suffix in BARE:
        return [Member(archive.name, archive.stat().st_size, plain=True)]
    if _is_single(archive):
        return [Member(archive.stem, _unzipped_size(archive), plain=True)]
    if archive.suffix == ".zip":
        return _zip_members(archive)
    with tarfile.open(archive) as opened:
        return [Member(m.name, m.size, m.isreg() or m.isdir()) for m in opened]


def _is_single(archive: Path) -> bool:
    """Whether this is one file in gzip format, and no tar archive."""
    return archive.suffix == ".gz" and not archive.name.endswith(".tar.gz")


def _unzipped_size(file: Path) -> int:
    """The number of bytes that a file in gzip format says, at its end, to hold (RFC 1952)."""
    if file.stat().st_size < GZIP_BYTES:  # Python takes an empty file for one that holds nothing
        raise DataError(f"{file.name} refused: too short for a file in gzip format")
    with file.open("rb") as opened:
        opened.seek(-4, os.SEEK_END)
        return int.from_bytes(opened.read(), "little")


def _zip_members(archive: Path) -> list[Member]:
    with zipfile.ZipFile(archive) as opened:
        found = opened.infolist()
    return [Member(m.filename, m.file_size, _kind(m) in PLAIN) for m in found]


def _kind(member: zipfile.ZipInfo) -> int:
    """The file type of a Unix mode, which a zip archive keeps in the upper half of an attribute."""
    return stat.S_IFMT(member.external_attr >> 16)
