"""When a sample is built anew: what is not the builder's goes over to the new folder, or beside it.

A sample has a list of the files that its builder made, `.made`. Another file in its folder (trained
weights in `models`, pictures of one's own), or one that was changed since, is somebody's work. The
old folder becomes `.NAME.former` until the new one is in its place; then the builder's own files
in it go, and no others. A process that is killed in between leaves it for the next one.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from course_utils.data.disk import link_or_copy
from course_utils.data.sums import read_list

__all__ = ["carry", "former", "note", "recover"]

MADE = ".made"  # HASH  NAME, as `sha256sum -c` reads it
OURS = (MADE, ".version")
WORK = ("models", "tmp")  # folders that lessons write to


def note(made: Path) -> None:
    """Write down what a builder has made."""
    lines = [f"{_sha256(made / name)}  {name}\n" for name in sorted(_names(made))]
    (made / MADE).write_text("".join(lines), "utf-8")


def former(folder: Path) -> Path:
    """Where the old folder is while the new one takes its place."""
    return folder.with_name(f".{folder.name}.former")


def carry(old: Path, new: Path) -> None:
    """Put what is not the builder's in `old` into `new` as well, under its name, if that is free.

    Of a folder without a list, that is what lies in folders that lessons write to.
    """
    made = _made(old)
    for name in _names(old):
        if made is None and PurePosixPath(name).parts[0] not in WORK:
            continue
        if made is not None and _is_made(old, name, made):
            continue
        if not os.path.lexists(new / name):
            _link(old / name, new / name)


def recover(folder: Path) -> None:
    """End what `carry` began: the old folder is whole again, or only what is nowhere else stays."""
    old = former(folder)
    if not old.exists():
        return
    if not folder.exists():
        old.replace(folder)
        return
    made = _made(old) or {}
    for name in list(_names(old)):
        if _is_made(old, name, made) or _is_same(old / name, folder / name):
            (old / name).unlink()
    for name in OURS:
        (old / name).unlink(missing_ok=True)
    _remove_empty(old)
    kept = sorted(_names(old)) if old.exists() else []
    if not kept:
        return
    place = _free(folder)
    old.replace(place)
    logging.getLogger(__name__).warning(
        f"{folder}: built anew; {len(kept)} files that may be yours are in {place}, as {kept[0]}"
    )


def _names(folder: Path) -> Iterator[str]:
    """Every file and link below a folder, but for our own two."""
    for place, folders, found in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in [*found, *links]:
            path = Path(place, name).relative_to(folder).as_posix()
            if path not in OURS:
                yield path


def _made(folder: Path) -> dict[str, str] | None:
    """Name -> sha256 of what its builder made; None of a folder from before there were lists."""
    file = folder / MADE
    return read_list(file).hashes if file.is_file() else None


def _is_made(folder: Path, name: str, made: dict[str, str]) -> bool:
    path = folder / name
    return name in made and path.is_file() and not path.is_symlink() and _sha256(path) == made[name]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are links to the same place, or files of the same content."""
    if one.is_symlink() or other.is_symlink():
        both = one.is_symlink() and other.is_symlink()
        return both and os.readlink(one) == os.readlink(other)
    if not (one.is_file() and other.is_file()):
        return False
    return one.samefile(other) or _sha256(one) == _sha256(other)


def _link(source: Path, target: Path) -> None:
    """A second name of a file, or a copy of it where there can be none."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):  # a new file has the name of an old folder
        return
    link_or_copy(source, target)


def _remove_empty(folder: Path) -> None:
    """Remove all folders with nothing in them, and `folder` itself if that leaves it so."""
    if folder.is_symlink():
        folder.unlink()
        return
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # there is something in it, written a moment ago perhaps
            os.rmdir(place)


def _free(folder: Path) -> Path:
    """NAME-kept beside a folder, or the first NAME-kept-N that is free."""
    place = folder.with_name(f"{folder.name}-kept")
    n = 1
    while os.path.lexists(place):
        n += 1
        place = folder.with_name(f"{folder.name}-kept-{n}")
    return place
