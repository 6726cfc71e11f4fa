"""Samples: small data sets built on this machine, once, into data/sample/NAME.

A builder is a module with `VERSION: int` and `build(target: Path) -> None`, which fills the empty
folder `target`. A higher VERSION has the sample built anew.
"""

from contextlib import suppress
from importlib import import_module
from pathlib import Path

from course_utils.data import registry
from course_utils.data.fetch import publish, workspace

__all__ = ["BUILDERS", "package", "sample"]

BUILDERS: dict[str, str] = {
    "cifar10": "course_utils.data.samples.cifar10",
    "dogscats": "course_utils.data.samples.dogscats",
    "efficientnet-lite0": "course_utils.data.samples.lite0",
    "fish": "course_utils.data.samples.fish",
    "imdb": "course_utils.data.samples.imdb",
    "ml-latest-small": "course_utils.data.samples.movielens",
    "mnist": "course_utils.data.samples.mnist",
    "nietzsche": "course_utils.data.samples.nietzsche",
    "planet": "course_utils.data.samples.planet",
    "rossmann": "course_utils.data.samples.rossmann",
    "statefarm": "course_utils.data.samples.statefarm",
}
"""Name -> module of its builder, imported when the sample is first built."""

STAMP = ".version"


def sample(name: str) -> Path:
    """Return the folder of a sample, built first if it is missing or of another version.

    It appears whole or not at all, whenever a process is killed or another one builds it too.
    """
    builder = import_module(BUILDERS[name])
    folder = registry.ROOT / "data" / "sample" / name
    if _version(folder) == builder.VERSION:
        return folder
    with workspace(folder) as work:
        new = work / "new"
        new.mkdir()
        builder.build(new)
        (new / STAMP).write_text(f"{builder.VERSION}\n", "utf-8")
        if _version(folder) != builder.VERSION:
            with suppress(FileNotFoundError):
                folder.replace(work / "old")
            publish(new, folder)
    return folder


def _version(folder: Path) -> int | None:
    try:
        return int((folder / STAMP).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def package(file: str) -> Path:
    """Return the path of a data package in data/packages; DataError if it is not there."""
    path = registry.ROOT / "data" / "packages" / file
    if not path.is_file():
        raise registry.DataError(f"{file} is not in {path.parent}; run `make setup`")
    return path
