"""SHA256SUMS, the list of hashes of a mirror: as `sha256sum` writes it, or an editor leaves it."""

import codecs
import hashlib
import logging
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from course_utils.data.registry import DataError

__all__ = ["Sums", "passes", "read_list", "read_sums", "verify"]

NAME = "SHA256SUMS"
LINE = re.compile(r"\\?([0-9A-Fa-f]{64})[ \t]+\*?(.+)")


class Sums(NamedTuple):
    """What a list says."""

    file: Path
    hashes: dict[str, str]  # name -> sha256, in lower case
    odd: list[str]  # lines that say nothing, or what another line denies

    def expected(self, name: str) -> str:
        """The sha256 of the file `name`; else, in words, that there is none, and why perhaps."""
        found = self.hashes.get(_plain(name))
        if found:
            return found
        reasons = [f"none in {self.file}", *self.odd]
        return f"({'; '.join(reasons)})"


def read_sums(folder: Path) -> Sums | None:
    """The list of a folder, if it has one; DataError if it is no text."""
    file = folder / NAME
    return read_list(file) if file.is_file() else None


def read_list(file: Path) -> Sums:
    """A list, of which each line is HASH  NAME."""
    hashes: dict[str, str] = {}
    odd = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:
            odd.append(f"line {number} is no HASH  NAME")
            continue
        name = _plain(found[2])
        known = hashes.setdefault(name, found[1].lower())
        if known != found[1].lower():
            odd.append(f"line {number} has a second hash of {name}")
            hashes[name] = ""
    return Sums(file, hashes, odd)


def _text(file: Path) -> str:
    """Its text, in UTF-8, or in UTF-16, as the shell of Windows writes it; no mark before it."""
    content = file.read_bytes()
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not in UTF-8 ({error.reason} at byte {error.start})") from None


def _plain(name: str) -> str:
    """A path with single slashes, without "./"."""
    return PurePosixPath(name.strip().replace("\\", "/")).as_posix()


def verify(file: Path, name: str, expected: str | None) -> None:
    """DataError if `file`, known as `name`, has another sha256 than expected; None: not known."""
    if expected is None:
        return
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != expected:
        raise DataError(f"{name} refused: sha256 expected {expected}, found {found}")


def passes(file: Path, mirror: Path) -> bool:
    """Whether the list of a mirror, if it has one, lets `file` in it pass; a warning if not."""
    try:
        sums = read_sums(mirror)
        name = file.relative_to(mirror).as_posix()
        verify(file, name, sums.expected(name) if sums else None)
    except DataError as error:
        logging.getLogger(__name__).warning(f"passed over: {file}: {error}")
        return False
    return True
