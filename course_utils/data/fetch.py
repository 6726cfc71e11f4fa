"""Full data sets: found on disk, in a mirror or on the web, verified and safely unpacked.

Not pooch, the usual choice: it neither resumes a download nor falls back to another source.
"""

import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from course_utils.data import registry
from course_utils.data.registry import DataError, Dataset

__all__ = ["full", "publish", "workspace"]

PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)  # 0: packed on a system without such modes
BROKEN = (OSError, HTTPError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


class _DiskFull(DataError):
    """No other source of the data would mend this."""


def full(entry: Dataset) -> Path:
    """Return the folder of a full data set; DataError lists each place tried and why it failed."""
    own, made = _setting("COURSE_DATA"), registry.ROOT / "data" / "full" / entry.name
    for folder in [own / entry.name, made] if own else [made]:
        if folder.is_dir():
            return _check_layout(entry, folder, f"{folder}; mend or remove that folder")
    tried = [f"COURSE_DATA={own}: no folder {entry.name}" if own else "COURSE_DATA: not set"]
    for source, find in _sources(entry):
        try:
            return _install(entry, find(), made)
        except _DiskFull:
            raise
        except (DataError, *BROKEN) as error:
            tried.append(f"{source}: {error}")
    by_hand = f"put {' or '.join(entry.archives)} into {made.parents[1] / 'archives'}, or make"
    by_hand += f" the folder {made} with {', '.join(entry.layout)}. {entry.by_hand}".rstrip()
    raise DataError("\n  ".join([f"{entry.name}: not found. Tried:", *tried, f"By hand: {by_hand}"]))


def _setting(variable: str) -> Path | None:
    value = os.environ.get(variable)  # a relative path counts from the repository root
    return registry.ROOT / Path(value).expanduser() if value else None


def _sources(entry: Dataset) -> Iterator[tuple[str, Callable[[], Path]]]:
    mirror, archives = _setting("COURSE_MIRROR"), registry.ROOT / "data" / "archives"
    for folder in [mirror, archives] if mirror else [archives]:
        for path in (folder / file for file in entry.archives):
            yield str(path), partial(_local, path, entry.sha256.get(path.name))
    for url in entry.urls:
        path = archives / url.rpartition("/")[2]
        yield url, partial(_download, url, path, entry.sha256.get(path.name))


def _local(path: Path, expected: str | None) -> Path:
    if not path.is_file():
        raise DataError("no such file")
    sums = path.with_name("SHA256SUMS")
    if sums.is_file():
        lines = re.findall(r"^(\w{64}) [ *](.+)$", sums.read_text("utf-8"), re.MULTILINE)
        expected = {file: digest for digest, file in lines}.get(path.name, f"(none in {sums})")
    return _verified(path, expected)


def _verified(path: Path, expected: str | None) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected not in (None, found):
        raise DataError(f"{path.name} refused: sha256 expected {expected}, found {found}")
    return path


def _download(url: str, path: Path, sha256: str | None) -> Path:
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    while True:
        had = part.stat().st_size
        try:
            _stream(url, part)
            break
        except (requests.RequestException, HTTPError):
            if part.stat().st_size <= had:  # a try that brought something earns another
                raise
    part.with_suffix(".tag").unlink(missing_ok=True)
    try:
        return _verified(part, sha256).replace(path)
    except DataError:
        part.unlink()
        raise


def _stream(url: str, part: Path) -> None:
    """One request: the rest of the file if the server still has the same one, else all of it."""
    tag = part.with_suffix(".tag")  # says which version of the file `part` is a piece of
    known = tag.read_text("utf-8") if tag.exists() else ""
    had = part.stat().st_size if known else 0
    ask = {"Range": f"bytes={had}-", "If-Range": known} if had else {}
    ask["Accept-Encoding"] = "identity"  # else some servers have the archive decoded on the way
    with requests.get(url, headers=ask, stream=True, timeout=(10, 60)) as reply:
        version = reply.headers.get("ETag") or reply.headers.get("Last-Modified", "")
        if had and (reply.status_code == 416 or (reply.status_code == 206 and version != known)):
            tag.unlink()
            return _stream(url, part)
        reply.raise_for_status()
        had = had if reply.status_code == 206 else 0
        with part.open("ab" if had else "wb") as out:
            tag.write_text(version, "utf-8")
            _receive(reply, out, had)


def _receive(reply: requests.Response, out: BinaryIO, had: int) -> None:
    total, name = had + int(reply.headers.get("Content-Length", 0)), Path(out.name)
    bar = tqdm.wrapattr(reply.raw, "read", total=total or None, initial=had, desc=name.stem)
    with _room(total, name), bar as body:
        shutil.copyfileobj(body, out)  # urllib3 raises if the line breaks before Content-Length


def _install(entry: Dataset, archive: Path, folder: Path) -> Path:
    with workspace(folder) as work:
        _unpack(archive, work)
        tops = [p for p in sorted(work.iterdir()) if not p.name.startswith((".", "__MACOSX"))]
        top = tops[0] if len(tops) == 1 and tops[0].is_dir() else work
        _check_layout(entry, top, f"{archive.name}; the archive is not the one expected")
        publish(top, folder)
    return folder


def _unpack(archive: Path, target: Path) -> None:
    members = list(_members(archive))
    for name, plain, _ in members:
        path = PureWindowsPath(name)  # knows drives and both slashes
        if path.anchor or ".." in path.parts or not plain:
            fault = "leads out of its folder" if plain else "is a link or a device"
            raise DataError(f"{archive.name} refused: its member {name!r} {fault}")
    with _room(sum(size for *_, size in members), target.parent):
        if archive.suffix == ".txt":
            shutil.copy(archive, target)
        else:
            options = {} if archive.suffix == ".zip" else {"filter": "data"}
            shutil.unpack_archive(archive, target, **options)


def _members(archive: Path) -> Iterator[tuple[str, bool, int]]:
    """Name, whether it is a file or a folder, and size of each thing that unpacking writes."""
    if archive.suffix == ".txt":
        yield archive.name, True, archive.stat().st_size
    elif archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened:
            for m in opened.infolist():
                yield m.filename, stat.S_IFMT(m.external_attr >> 16) in PLAIN, m.file_size
    else:
        with tarfile.open(archive) as opened:
            yield from ((m.name, m.isreg() or m.isdir(), m.size) for m in opened)


@contextmanager
def _room(needed: int, place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _DiskFull(f"the disk of {place} is full: {needed / 1e6:,.1f} MB needed") from error


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside `folder`; in the end it goes with all left inside it."""
    for old in folder.parent.glob(f".{folder.name}.*.part"):  # of processes killed a day ago
        if old.stat().st_mtime < time.time() - 86400:
            shutil.rmtree(old, ignore_errors=True)
    work = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
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


def _check_layout(entry: Dataset, folder: Path, place: str) -> Path:
    counts = {pattern: _count(list(folder.glob(pattern))) for pattern in entry.layout}
    for pattern in (pattern for pattern, count in counts.items() if not count):
        raise DataError(f"{entry.name}: no files match {pattern} in {place}")
    odd = [f"{p} {counts[p]} of {n}" for p, n in entry.layout.items() if counts[p] != n]
    if odd:
        _warn_once(f"{entry.name}: reduced copy, {', '.join(odd)}")
    return folder


def _count(files: list[Path]) -> int:
    """Number of files or, of a single table, of its rows below the header."""
    if len(files) != 1 or files[0].suffix != ".csv":
        return len(files)
    with files[0].open("rb") as table:
        return sum(1 for _ in table) - 1


@cache
def _warn_once(message: str) -> None:
    logging.getLogger(__name__).warning(message)
