"""For `make clean`: remove what was built in data/sample and data/small, and nothing else there.

Needs nothing but Python: .venv may be gone. `course_utils.data.samples.keep` writes the lists.
"""

import hashlib
import re
import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["clean"]

MADE = ".made"
WORKSPACE = re.compile(r"\..+\.([0-9a-f]{8}\.part|lock)")


def clean(sets: Path) -> list[Path]:
    """Remove what the lists of the sets name, unchanged; return the folders with more in it."""
    left = []
    for folder in sorted(sets.glob("*")):
        if WORKSPACE.fullmatch(folder.name):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
        elif folder.is_dir():
            _clean_set(folder)
            if folder.exists():
                left.append(folder)
    return left


def _clean_set(folder: Path) -> None:
    """Of a set from before there were lists nothing goes: nobody knows what is whose."""
    made = folder / MADE
    if not made.is_file():
        return
    for line in made.read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        file = folder / name
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == digest:
            file.unlink()
    folders = [path for path in folder.rglob("*") if path.is_dir()]
    for path in sorted(folders, reverse=True):  # what is in a folder comes before it
        with suppress(OSError):  # there is something in it
            path.rmdir()
    (folder / ".version").unlink(missing_ok=True)  # it is to be built again
    if [path.name for path in folder.iterdir()] == [MADE]:
        shutil.rmtree(folder)


if __name__ == "__main__":
    for place in [*clean(Path("data", "sample")), *clean(Path("data", "small"))]:
        print(f"clean: {place} stays: there may be files of yours in it")
