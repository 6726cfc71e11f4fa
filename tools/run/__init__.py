"""Execute the notebooks headless and compare what they record with what they must reach.

`python -m tools.run --help` lists the options (`__main__`). `execute` runs one notebook, `pool`
many of them, and `verdict` says what is wrong with what they have recorded.
"""

from pathlib import Path

from tools import ROOT

__all__ = ["NOTEBOOKS", "find"]

NOTEBOOKS = ROOT / "nbs"
LESSONS = ("*.ipynb", "2017/*.ipynb")
SOLUTIONS = ("solutions/*.ipynb", "solutions/2017/*.ipynb")


def find(folder: Path, *, solutions: bool = False) -> dict[str, Path]:
    """Notebooks by name ("lesson1-dogscats", "2017/statefarm"), sorted."""
    patterns = LESSONS + SOLUTIONS if solutions else LESSONS
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return {path.relative_to(folder).with_suffix("").as_posix(): path.resolve() for path in paths}
