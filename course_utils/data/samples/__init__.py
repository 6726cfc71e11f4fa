"""Samples: small data sets built on this machine, once, into data/sample/NAME.

A builder is a module with `VERSION: int` and `build(target: Path) -> None`, which fills the empty folder `target`. A
higher VERSION has the sample built anew.
"""

import hashlib
import io
import zipfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from course_utils import files
from course_utils.data import registry
from course_utils.data.fetch import publish, workspace

__all__ = ["BUILDERS", "member", "sample"]

NAMESAKES = [
    "cifar10",
    "dogscats",
    "fish",
    "imdb",
    "mnist",
    "nietzsche",
    "planet",
    "rossmann",
    "statefarm",
]
BUILDERS: dict[str, str] = {name: f"{__name__}.{name}" for name in NAMESAKES}
BUILDERS |= {"efficientnet-lite0": f"{__name__}.lite0", "ml-latest-small": f"{__name__}.movielens"}
"""Name -> module of its builder, imported when the sample is first built."""

STAMP = ".version"


def sample(name: str) -> Path:
    """Return the folder of a sample, built first if it is missing or of another version.

    Whole or not at all, even if a process is killed or two build it. DataError if its data package is missing.
    """
    builder = import_module(BUILDERS[name])
    folder = files.ROOT / "data" / "sample" / name
    if _version(folder) == builder.VERSION:
        return folder
    with workspace(folder) as work:
        (new := work / "new").mkdir()
        builder.build(new)
        (new / STAMP).write_text(f"{builder.VERSION}\n", "utf-8")
        if _version(folder) != builder.VERSION:
            with suppress(FileNotFoundError):
                folder.replace(work / "old")
            publish(new, folder)
    return folder


def _version(folder: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int((folder / STAMP).read_text("utf-8"))
    return None


def member(file: str, name: str) -> io.BytesIO:
    """Return a file out of a data package, which is read as a zip archive: no code in it is ever imported.

    DataError if the package is not in data/packages, or not the one that requirements-data.txt pins.
    """
    path, pins = files.ROOT / "data" / "packages" / file, files.ROOT / "requirements-data.txt"
    if not path.is_file():
        raise registry.DataError(f"{file} is not in {path.parent}; run `make setup`")
    if hashlib.sha256(path.read_bytes()).hexdigest() not in pins.read_text("utf-8"):
        raise registry.DataError(
            f"{path}: not the package expected; delete it and run `make setup`"
        )
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read(name))
