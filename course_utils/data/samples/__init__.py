"""Samples: small data sets built on this machine, once, into data/sample/NAME.

A builder is a module with `VERSION: int` and `build(target: Path) -> None`, which fills the empty
folder `target`. A higher VERSION has the sample built anew.
"""

import hashlib
import io
import re
import shlex
import zipfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from course_utils import files
from course_utils.data.disk import publish, workspace
from course_utils.data.registry import DataError

__all__ = ["BUILDERS", "PINS", "member", "sample"]

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

PINS = Path(__file__).parents[1] / "requirements-data.txt"
"""The data packages, each with its version and hash."""

STAMP = ".version"


def sample(name: str) -> Path:
    """Return the folder of a sample, built first if it is missing or of another version.

    Whole or not at all, even if a process is killed or two build it. DataError if its data package
    is missing.
    """
    builder = import_module(BUILDERS[name])
    folder = files.ROOT / "data" / "sample" / name
    if _version(folder) == builder.VERSION:
        return folder
    with workspace(folder) as work:
        new = work / "new"
        new.mkdir()
        builder.build(new)
        (new / STAMP).write_text(f"{builder.VERSION}\n", "utf-8")
        if _version(folder) != builder.VERSION:  # else another process was first: it may be in use
            with suppress(FileNotFoundError):
                folder.replace(work / "old")
            publish(new, folder)
    return folder


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
    if hashlib.sha256(content).hexdigest() != _pinned(file):
        raise DataError(f"{path}: not the package expected; {_mend(path.parent)}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return io.BytesIO(archive.read(name))


def _pinned(file: str) -> str | None:
    """The sha256 that a data package must have, found by the name that its file begins with."""
    for line in PINS.read_text("utf-8").splitlines():
        pin = re.fullmatch(r"(\S+)==(\S+) --hash=sha256:(\w{64})", line)
        if pin and _normal(file).startswith(f"{_normal(pin[1])}-{_normal(pin[2])}"):
            return pin[3]
    return None


def _normal(name: str) -> str:
    """A package's name in lower case with single hyphens, as package indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _mend(packages: Path) -> str:
    """What fetches the data packages: in a checkout its set-up, elsewhere pip."""
    if files.is_checkout(files.ROOT):
        # Set-up trusts a folder that it has made.
        first = f"remove {packages} and " if packages.is_dir() else ""
        return f"{first}run `make setup`"
    paths = f"-d {shlex.quote(str(packages))} -r {shlex.quote(str(PINS))}"
    return f"run `pip download --no-deps --require-hashes {paths}`"
