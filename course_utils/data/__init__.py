"""Data sets: the small samples built here, and the full sets fetched from their sources."""

import hashlib
import re
from pathlib import Path

from course_utils.choose import choose
from course_utils.data.fetch import full
from course_utils.data.registry import DataError, load
from course_utils.data.samples import BUILDERS, sample

__all__ = ["DataError", "fingerprint", "get_data"]


def get_data(name: str, size: str = "sample") -> Path:
    """Return the folder of a data set, built ("sample") or fetched ("full") on the first call. Used in all lessons.

    ValueError for an unknown name or size; DataError, listing each place tried (data/README.md), if it is nowhere.
    """
    if choose("size", size, ["sample", "full"]) == "sample":
        return sample(choose("sample data set", name, BUILDERS))
    return full(load()[choose("full data set", name, load())])


def fingerprint(root: Path) -> str:
    """16 hex digits of the sorted names and sizes of the files in `root`, but hidden ones and `models` and `tmp`."""
    files = {
        p.relative_to(root).as_posix(): p.stat().st_size
        for p in Path(root).rglob("*")
        if p.is_file()
    }
    lines = [
        f"{p}\t{files[p]}\n" for p in sorted(files) if not re.match(r"(models|tmp)/|(.*/)?\.", p)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
