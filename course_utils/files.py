"""Where things lie: the repository, work folders, files written whole or not at all, tables read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["ROOT", "atomic", "given", "read_csv", "work_dir"]


ROOT = Path(__file__).resolve().parents[1]


def work_dir(path: Path) -> Path:
    """Where weights and activations go: COURSE_WORK, else `path`, or .runs/work/SIZE/NAME if that is read-only."""
    own = (
        path
        if os.access(path, os.W_OK)
        else ROOT.joinpath(".runs/work", *path.resolve().parts[-2:])
    )
    return Path(os.getenv("COURSE_WORK") or own)


@contextmanager
def atomic(file: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes `file` at the end, whole, or goes away on an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def read_csv(file: str | Path, **options: Any) -> pd.DataFrame:
    """A CSV file as a table; ValueError that names it if it is empty, not UTF-8 or no table."""
    try:
        if not (table := pd.read_csv(file, **options)).empty:
            return table
        raise ValueError("it has no rows")
    except ValueError as e:  # all of pandas' own are
        raise ValueError(f"{file}: not a readable CSV file ({str(e).splitlines()[0]})") from None


def given(variable: str) -> list[Path]:
    """The folder that an environment variable names, if it is set; a relative one counts from the repository root."""
    value = os.environ.get(variable)
    return [ROOT / Path(value).expanduser()] if value else []
