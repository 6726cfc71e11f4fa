"""Data sets: the small samples built here, and the full sets fetched from their sources."""

import hashlib
from pathlib import Path

from course_utils.choose import choose
from course_utils.data.fetch import full
from course_utils.data.registry import DataError, load
from course_utils.data.samples import BUILDERS, sample

__all__ = ["DataError", "fingerprint", "get_data"]


def get_data(name: str, size: str = "sample") -> Path:
    """Return the folder of a data set, built ("sample") or fetched ("full") on the first call.

    ValueError for an unknown name or size; DataError, listing each place tried (data/README.md), if
    it is nowhere. Used in all lessons.
    """
    choose("size", size, ["sample", "full"])
    if size == "sample":
        return sample(choose("sample data set", name, BUILDERS))
    sets = load()
    return full(sets[choose("full data set", name, sets)])


def fingerprint(root: Path) -> str:
    """16 hex digits of the sorted names and sizes of the files in `root`.

    Hidden files do not count, nor what lessons write into `models` and `tmp`.
    """
    sizes = {}
    for path in Path(root).rglob("*"):
        name = path.relative_to(root)
        if path.is_file() and not _is_ours(name):
            sizes[name.as_posix()] = path.stat().st_size
    lines = [f"{name}\t{sizes[name]}\n" for name in sorted(sizes)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _is_ours(name: Path) -> bool:
    """Whether a path below a data set's folder is no part of the data."""
    hidden = any(part.startswith(".") for part in name.parts)
    return hidden or (len(name.parts) > 1 and name.parts[0] in ("models", "tmp"))
