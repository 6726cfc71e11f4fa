"""Samples: small data sets built on this machine, once, into data/sample/NAME.

A builder is a module with `VERSION: int` and `build(target: Path) -> None`, which fills the empty
folder `target`. A higher VERSION has the sample built anew. What a builder did not make, or what
somebody has changed since, is never deleted: it moves into the new folder, or into one beside it.
"""

import hashlib
import io
import shlex
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from course_utils import files
from course_utils.data.disk import alone, publish, room, workspace
from course_utils.data.packages import PINS, pinned
from course_utils.data.registry import DataError
from course_utils.data.samples import keep

__all__ = ["BUILDERS", "PINS", "built", "member", "sample"]

BUILDERS: dict[str, str] = {
    "cifar10": f"{__name__}.cifar10",
    "dogscats": f"{__name__}.dogscats",
    "efficientnet-lite0": f"{__name__}.lite0",
    "fish": f"{__name__}.fish",
    "imdb": f"{__name__}.imdb",
    "ml-latest-small": f"{__name__}.movielens",
    "mnist": f"{__name__}.mnist",
    "nietzsche": f"{__name__}.nietzsche",
    "planet": f"{__name__}.planet",
    "rossmann": f"{__name__}.rossmann",
    "statefarm": f"{__name__}.statefarm",
}
"""Name -> module of its builder, imported when the sample is first built."""

STAMP = ".version"


def sample(name: str) -> Path:
    """Return the folder of a sample, built first if it is missing or of another version.

    Whole or not at all, even if a process is killed, and by one process. DataError if its data
    package is missing, or the disk full.
    """
    builder = import_module(BUILDERS[name])
    return built(files.ROOT / "data" / "sample" / name, builder.VERSION, builder.build)


def built(folder: Path, version: int, build: Callable[[Path], None]) -> Path:
    """Return `folder`, made by `build` first if it is missing or of another version."""
    if _is_ready(folder, version):
        return folder
    with alone(folder):
        keep.recover(folder)
        if _version(folder) != version:  # else another process was first
            _build(folder, version, build)
    return folder


def _is_ready(folder: Path, version: int) -> bool:
    return _version(folder) == version and not keep.former(folder).exists()


def _build(folder: Path, version: int, build: Callable[[Path], None]) -> None:
    """Build beside `folder`, then put that in its place; what else was there stays."""
    with room(None, folder.parent), workspace(folder) as work:
        new = work / "new"
        new.mkdir()
        build(new)
        keep.note(new)
        (new / STAMP).write_text(f"{version}\n", "utf-8")
        if folder.is_dir():
            keep.carry(folder, new)
            folder.replace(keep.former(folder))
        publish(new, folder)
    keep.recover(folder)


def _version(folder: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int((folder / STAMP).read_text("utf-8"))
    return None


def member(file: str, name: str) -> io.BytesIO:
    """Return a file out of a data package, read as a zip archive: no code in it is ever imported.

    DataError if the package is not in data/packages, or not the one that is pinned under its name.
    """
    path = files.ROOT / "data" / "packages" / file
    if not path.is_file():
        raise DataError(f"{file} is not in {path.parent}; {_mend(path.parent)}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != pinned(file, PINS):
        raise DataError(f"{path}: not the package expected; {_mend(path.parent)}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return io.BytesIO(archive.read(name))


def _mend(packages: Path) -> str:
    """What fetches the data packages that are lacking: in a checkout its set-up."""
    if files.is_checkout(files.ROOT):
        return "run `make setup`"
    return f"run `python -m course_utils.data packages {shlex.quote(str(packages))}`"
