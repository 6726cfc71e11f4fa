"""Full data sets: found on disk, in a mirror or on the web, verified and safely unpacked."""

import errno
import hashlib
import logging
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PureWindowsPath

import requests
from tqdm import tqdm

from course_utils import files
from course_utils.data import registry
from course_utils.files import given

__all__ = ["full", "publish", "workspace"]

PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)  # 0: packed on a system without such modes
_warn_once = cache(logging.getLogger(__name__).warning)


class _DiskFull(registry.DataError):
    """No other source of the data would mend this."""


def full(entry: registry.Dataset) -> Path:
    """Return the folder of a full data set; DataError lists each place tried and why it failed."""
    own, made = given("COURSE_DATA"), files.ROOT / "data" / "full" / entry.name
    for folder in [*(folder / entry.name for folder in own), made]:
        if folder.is_dir():
            return _checked(folder, entry, f"{folder}; mend or remove that folder")
    tried = [f"COURSE_DATA={folder}: no folder {entry.name}" for folder in own] or [
        "COURSE_DATA: not set"
    ]
    archives = files.ROOT / "data" / "archives"
    local = [
        folder / file for folder in [*given("COURSE_MIRROR"), archives] for file in entry.archives
    ]
    for source in [*local, *entry.urls]:
        try:
            return _install(_archive(source, entry, archives), made, entry)
        except _DiskFull:
            raise
        except (
            Exception
        ) as error:  # networks and archives fail in many ways; the next source may do
            tried.append(f"{source}: {error}")
    by_hand = f"By hand: put {' or '.join(entry.archives)} into {archives}, or make the folder {made} with "
    by_hand += f"{', '.join(entry.layout)}. {entry.by_hand}".rstrip()
    raise registry.DataError("\n  ".join([f"{entry.name}: not found. Tried:", *tried, by_hand]))


def _archive(source: Path | str, entry: registry.Dataset, archives: Path) -> Path:
    """The archive at a path or an address, its hash checked."""
    path = archives / Path(source).name if isinstance(source, str) else source
    file = _download(source, path) if isinstance(source, str) else path
    if not file.is_file():
        raise registry.DataError("no such file")
    expected, sums = entry.sha256.get(path.name), path.with_name("SHA256SUMS")
    if sums.is_file():
        line = re.search(
            rf"^(\w{{64}}) [ *]{re.escape(path.name)}$", sums.read_text("utf-8"), re.MULTILINE
        )
        expected = line[1] if line else f"(none in {sums})"
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if expected not in (None, found):
        if file != path:
            file.unlink()  # what was just downloaded; an archive put there by hand stays
        raise registry.DataError(f"{path.name} refused: sha256 expected {expected}, found {found}")
    return path if file == path else file.replace(path)


def _download(url: str, path: Path) -> Path:
    """Fetch `path` as a .part, or its rest if an earlier call broke (pooch, the usual choice, cannot resume)."""
    part, tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.tag")
    known = (
        tag.read_text("utf-8") if tag.exists() and part.exists() else ""
    )  # version that `part` is a piece of
    had = part.stat().st_size if known else 0
    ask = {"Range": f"bytes={had}-", "If-Range": known} if had else {}
    ask["Accept-Encoding"] = "identity"  # else some servers have the archive decoded on the way
    with requests.get(url, headers=ask, stream=True, timeout=(10, 60)) as reply:
        version = reply.headers.get("ETag") or reply.headers.get("Last-Modified", "")
        if had and (reply.status_code == 416 or (reply.status_code == 206 and version != known)):
            tag.unlink()  # the file has changed: all of it is needed
            return _download(url, path)
        reply.raise_for_status()
        had = had if reply.status_code == 206 else 0
        total = had + int(reply.headers.get("Content-Length", 0))
        bar = tqdm.wrapattr(reply.raw, "read", total=total or None, initial=had, desc=path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _room(total, part), part.open("ab" if had else "wb") as out, bar as body:
            tag.write_text(version, "utf-8")
            shutil.copyfileobj(body, out)  # raises if the line breaks before Content-Length
    tag.unlink(missing_ok=True)
    return part


def _install(archive: Path, folder: Path, entry: registry.Dataset) -> Path:
    with workspace(folder) as work:
        _unpack(archive, work)
        tops = [p for p in sorted(work.iterdir()) if not p.name.startswith((".", "__MACOSX"))]
        top = tops[0] if len(tops) == 1 and tops[0].is_dir() else work
        publish(
            _checked(top, entry, f"{archive.name}; the archive is not the one expected"), folder
        )
    return folder


def _unpack(archive: Path, target: Path) -> None:
    members = _members(archive)
    for name, _, plain in members:
        path = PureWindowsPath(name)  # knows drives and both slashes
        if path.anchor or ".." in path.parts or not plain:
            fault = "leads out of its folder" if plain else "is a link or a device"
            raise registry.DataError(f"{archive.name} refused: its member {name!r} {fault}")
    with _room(sum(size for _, size, _ in members), target.parent):
        if archive.suffix == ".txt":
            shutil.copy(archive, target)
        else:
            shutil.unpack_archive(
                archive, target, filter=None if archive.suffix == ".zip" else "data"
            )


def _members(archive: Path) -> list[tuple[str, int, bool]]:
    """Name and size of each thing that unpacking writes, and whether it is a plain file or folder."""
    if archive.suffix == ".txt":
        return [(archive.name, archive.stat().st_size, True)]
    if archive.suffix != ".zip":
        with tarfile.open(archive) as opened:
            return [(m.name, m.size, m.isreg() or m.isdir()) for m in opened]
    with zipfile.ZipFile(archive) as opened:
        return [
            (m.filename, m.file_size, stat.S_IFMT(m.external_attr >> 16) in PLAIN)
            for m in opened.infolist()
        ]


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


def _checked(folder: Path, entry: registry.Dataset, place: str) -> Path:
    counts = {pattern: _count(list(folder.glob(pattern))) for pattern in entry.layout}
    if missing := [pattern for pattern, count in counts.items() if not count]:
        raise registry.DataError(f"{entry.name}: no files match {missing[0]} in {place}")
    if odd := [f"{p} {counts[p]} of {n}" for p, n in entry.layout.items() if counts[p] != n]:
        _warn_once(f"{entry.name}: reduced copy, {', '.join(odd)}")
    return folder


def _count(files: list[Path]) -> int:
    """Number of files or, of a single table, of its rows below the header."""
    is_table = len(files) == 1 and files[0].suffix == ".csv"
    return len(files[0].read_bytes().splitlines()) - 1 if is_table else len(files)
