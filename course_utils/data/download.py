"""One file from the web: its rest, if an earlier call broke off (pooch cannot resume)."""

import shutil
from pathlib import Path

import requests
from tqdm import tqdm

from course_utils.data.disk import room

__all__ = ["download"]

TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
REST = 206  # the answer is the part of the file that was asked for
PAST_THE_END = 416


def download(url: str, path: Path) -> Path:
    """Fetch what `url` has as `path`.part, beside `path`, and return that.

    While it is not whole, `path`.tag says of which version of the file it is a piece.
    """
    part = path.with_name(f"{path.name}.part")
    tag = path.with_name(f"{path.name}.tag")
    known = tag.read_text("utf-8") if tag.exists() and part.exists() else ""
    had = part.stat().st_size if known else 0
    with _ask(url, known, had) as reply:
        version = _version(reply)
        if had and _has_changed(reply, known, version):
            tag.unlink()  # all of it is needed
            return download(url, path)
        reply.raise_for_status()
        part.parent.mkdir(parents=True, exist_ok=True)
        tag.write_text(version, "utf-8")
        _write(reply, part, had if reply.status_code == REST else 0)
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


def _has_changed(reply: requests.Response, known: str, version: str) -> bool:
    """Whether the rest that was asked for is not that of the piece at hand."""
    if reply.status_code == PAST_THE_END:
        return True
    return reply.status_code == REST and version != known


def _write(reply: requests.Response, part: Path, had: int) -> None:
    """Write the body behind the `had` bytes at hand; an error if it is shorter than announced."""
    total = had + int(reply.headers.get("Content-Length", 0))
    name = part.name.removesuffix(".part")
    bar = tqdm.wrapattr(reply.raw, "read", total=total or None, initial=had, desc=name)
    with room(total, part), part.open("ab" if had else "wb") as out, bar as body:
        shutil.copyfileobj(body, out)
