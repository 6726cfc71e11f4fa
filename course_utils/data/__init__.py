"""Data sets: samples built here, full sets from their sources, small ones drawn from these."""

import hashlib
from pathlib import Path

from course_utils.choose import choose
from course_utils.data.draw import small
from course_utils.data.fetch import full
from course_utils.data.registry import DataError, load
from course_utils.data.samples import BUILDERS, sample
from course_utils.files import SIZES

__all__ = ["DataError", "fingerprint", "get_data"]


def get_data(name: str, size: str = "sample") -> Path:
    """Return the folder of a data set, made on the first call.

    "sample" is built here, "full" fetched from its source, "small" drawn from the full set.
    ValueError for an unknown name or size; DataError, listing each place tried (data/README.md), if
    it is nowhere. Used in all lessons.
    """
    choose("size", size, SIZES)
    if size == "sample":
        return sample(choose("sample data set", name, BUILDERS))
    sets = load()
    if size == "small":
        sets = {name: entry for name, entry in sets.items() if entry.small}
    entry = sets[choose(f"{size} data set", name, sets)]
    return full(entry) if size == "full" else small(entry)


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
