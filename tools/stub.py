"""Writes course_utils/__init__.pyi, which says what `from course_utils import *` gives.

`python -m tools.stub` after a new public name; a test fails while the file is another.
"""

from importlib import import_module

from course_utils.files import ROOT

__all__ = ["FILE", "MODULES", "stub"]

FILE = ROOT / "course_utils" / "__init__.pyi"
MODULES = ["shorthand", "collab", "core", "data", "hooks", "interpret", "learner", "loaders"]
MODULES += ["metrics", "models", "plotting", "results", "rnn", "schedule", "tabular", "text"]
MODULES += ["transforms", "vision"]  # those whose names a cell of the videos uses


def stub() -> str:
    """The text of the file: each name once, from the module that the lessons import it from."""
    lines = ['"""Written by `python -m tools.stub`: see `course_utils/__init__.py`."""', ""]
    lines += [f"from . import {module} as {module}" for module in MODULES[1:]]
    seen: set[str] = set()
    for module in MODULES:
        names = set(import_module(f"course_utils.{module}").__all__) - seen
        seen |= names
        lines += [f"from .{module} import {name} as {name}" for name in sorted(names)]
    return "\n".join([*lines, "", "__version__: str", ""])


if __name__ == "__main__":
    FILE.write_text(stub(), "utf-8")
