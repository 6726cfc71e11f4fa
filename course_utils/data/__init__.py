"""Data sets: the small samples built here, and the full sets fetched from their sources."""

import hashlib
from pathlib import Path

from course_utils.data.fetch import full
from course_utils.data.registry import DataError, choose, load
from course_utils.data.samples import BUILDERS, sample

__all__ = ["DataError", "fingerprint", "get_data"]


def get_data(name: str, size: str = "sample") -> Path:
    """Return the folder of a data set, built or fetched on the first call. Used in all lessons.

    "sample" is built from what `make setup` fetched and needs no network. "full" is looked for in
    COURSE_DATA, data/full, COURSE_MIRROR and data/archives, then on the web (data/README.md).
    ValueError for an unknown name or size; DataError, listing each place tried, if it is nowhere.
    """
    if choose("size", size, ["sample", "full"]) == "sample":
        return sample(choose("sample data set", name, BUILDERS))
    known = load()
    return full(known[choose("full data set", name, known)])


def fingerprint(root: Path) -> str:
    """16 hex digits of the sorted names and sizes of the files below `root`.

    Hidden files and what lessons write (`models`, `tmp`) do not count.
    """
    files = ((p.relative_to(root), p) for p in Path(root).rglob("*") if p.is_file())
    lines = [
        f"{name.as_posix()}\t{path.stat().st_size}\n"
        for name, path in files
        if name.parts[0] not in ("models", "tmp") and not any(o[0] == "." for o in name.parts)
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]
