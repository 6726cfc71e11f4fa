"""One file from the web: its rest, if an earlier call broke off (pooch cannot resume)."""

import hashlib
import re
import shutil
import sys
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import requests
from tqdm import tqdm

from course_utils.data.disk import Bounded, DiskFull, in_words, room
from course_utils.data.registry import DataError

__all__ = ["MOST", "PREFIX", "download"]

TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
REST = 206  # the answer is the part of the file that was asked for
PAST_THE_END = 416
MOST = 20_000_000_000  # bytes of an archive whose size is not registered
PREFIX = 2**20  # bytes that the hash of an archive's begin is of, as fast.ai publishes it


class _Body(NamedTuple):
    """What a reply brings: bytes from `start` on, of `total` in the whole file, if it says so."""

    start: int
    total: int | None


def download(url: str, path: Path, size: int | None = None, prefix: str | None = None) -> Path:
    """Fetch what `url` has as `path`.part, beside `path`, and return that.

    While it is not whole, `path`.tag says of which version of the file it is a piece. DataError,
    and nothing of it stays, if it has more bytes than announced, another number than `size`, or
    begins otherwise: `prefix` is the md5 of its first 2**20 bytes, looked at when these are there.
    """
    part = path.with_name(f"{path.name}.part")
    tag = path.with_name(f"{path.name}.tag")
    known = tag.read_text("utf-8") if tag.exists() and part.exists() else ""
    had = part.stat().st_size if known else 0
    with _ask(url, known, had) as reply:
        version = _version(reply)
        body = _body(reply)
        if had and _is_no_rest(reply, body, known, had):
            tag.unlink()  # all of it is needed
            return download(url, path, size, prefix)
        reply.raise_for_status()
        if body is None or body.start not in (0, had):
            raise DataError(f"{path.name} refused: not the part of the file that was asked for")
        part.parent.mkdir(parents=True, exist_ok=True)
        if body.start == 0:
            part.unlink(missing_ok=True)  # first: it is no piece of what the tag will name
        tag.write_text(version, "utf-8")
        try:
            _write(reply, part, body, size, prefix)
        except DiskFull:
            raise  # the next call goes on from here
        except DataError:
            part.unlink(missing_ok=True)
            tag.unlink()
            raise
    tag.unlink(missing_ok=True)
    return part


def _ask(url: str, known: str, had: int) -> requests.Response:
    headers = {"Accept-Encoding": "identity"}  # else some servers have it decoded on the way
    if had:
        headers["Range"] = f"bytes={had}-"
        headers["If-Range"] = known
    return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)


def _version(reply: requests.Response) -> str:
    """A server's name for this version of the file; "" (no rest can be asked for) if none."""
    return reply.headers.get("ETag") or reply.headers.get("Last-Modified", "")


def _body(reply: requests.Response) -> _Body | None:
    """What a reply says of its body; None if it is a part of which it does not say which."""
    announced = reply.headers.get("Content-Length", "")
    length = int(announced) if announced.isdigit() else None
    if reply.status_code != REST:
        return _Body(0, length)
    said = reply.headers.get("Content-Range", "")
    numbers = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said.strip())
    if numbers is None:
        return None
    start = int(numbers[1])
    end = int(numbers[2]) + 1
    total = end if numbers[3] == "*" else int(numbers[3])
    if end != total or length not in (None, end - start):
        return None
    return _Body(start, total)


def _is_no_rest(reply: requests.Response, body: _Body | None, known: str, had: int) -> bool:
    """Whether the reply is neither the rest, behind the piece at hand, nor the whole file."""
    if reply.status_code == PAST_THE_END:
        return True
    if reply.status_code != REST:
        return False
    return body is None or body.start != had or _version(reply) != known


def _write(
    reply: requests.Response, part: Path, body: _Body, size: int | None, prefix: str | None
) -> None:
    """Write a body behind what is at hand of it; an error if it is not what was expected."""
    name = part.name.removesuffix(".part")
    _require_size(name, body.total, size)
    total = size if body.total is None else body.total
    most = MOST if total is None else total
    bar = tqdm.wrapattr(reply.raw, "read", total=total, initial=body.start, desc=name)
    mode = "ab" if body.start else "wb"
    announced = "a size that is not known" if total is None else in_words(total)
    tqdm.write(f"{name}: {announced}, from {reply.url}", file=sys.stderr)
    with room(total, part), part.open(mode) as out, bar as opened:
        refusal = f"{name} refused: it has more than {in_words(most)}"
        bounded = Bounded(cast(BinaryIO, opened), most - body.start, refusal)
        checked = _Checked(cast(BinaryIO, out), part, prefix)
        shutil.copyfileobj(cast(BinaryIO, bounded), cast(BinaryIO, checked))
    got = part.stat().st_size
    if total is not None and got < total:
        raise OSError(f"{name} breaks off after {got:,} of {total:,} bytes")
    _require_prefix(part, prefix)


def _require_size(name: str, announced: int | None, size: int | None) -> None:
    """DataError if a server announces another size than the registry, or more than any has."""
    if announced is None:
        return
    if size is not None and announced != size:
        raise DataError(f"{name} refused: {announced:,} bytes announced, {size:,} expected")
    if size is None and announced > MOST:
        raise DataError(f"{name} refused: it has more than {in_words(MOST)}")


class _Checked:
    """A file to write to; DataError if it has another begin than `prefix`, once that is there."""

    def __init__(self, out: BinaryIO, part: Path, prefix: str | None) -> None:
        self.out = out
        self.part = part
        self.prefix = prefix
        self.is_checked = False

    def write(self, piece: bytes) -> int:
        """As that of the file."""
        written = self.out.write(piece)
        if not self.is_checked and self.out.tell() >= PREFIX:
            self.out.flush()
            _require_prefix(self.part, self.prefix)
            self.is_checked = True
        return written


def _require_prefix(part: Path, prefix: str | None) -> None:
    """DataError if the first 2**20 bytes have another md5; None: not known."""
    if prefix is None:
        return
    with part.open("rb") as opened:
        found = hashlib.md5(opened.read(PREFIX), usedforsecurity=False).hexdigest()
    if found != prefix:
        name = part.name.removesuffix(".part")
        raise DataError(f"{name} refused: md5 of its begin expected {prefix}, found {found}")
