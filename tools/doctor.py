"""Check this machine: `make doctor` prints [OK] or [FAIL] with the mend for each thing needed.

Needs nothing but Python itself to start, so that it can say what is missing.
"""

from __future__ import annotations  # an old Python must get as far as its own [FAIL] line

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tools import ROOT

__all__ = ["CHECKS", "Check", "main", "pins"]

SETUP = "make setup"
DISK_GB, MEMORY_GB = 2, 4  # for the sample runs, .venv not counted


@dataclass(frozen=True)
class Check:
    """One line of the report; `mend` says what to do when it is not `good`."""

    good: bool
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"[OK]   {self.what}" if self.good else f"[FAIL] {self.what}: {self.mend}"


def python() -> Check:
    """Python is 3.11.4 or later (the first with safe unpacking of archives)."""
    good = sys.version_info >= (3, 11, 4)
    return Check(good, f"Python {sys.version.split()[0]}", "needs 3.11.4 or later")


def pins(lock: str) -> dict[str, set[str]]:
    """Package to its pinned versions for any platform; "" among them: not needed everywhere."""
    found: dict[str, set[str]] = {}
    for name, version, marker in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)( *;)?", lock):
        found.setdefault(name, set()).update({version, ""} if marker else {version})
    return found


def packages() -> Check:
    """The installed packages are those of requirements.lock."""
    wanted = pins((ROOT / "requirements.lock").read_text("utf-8"))
    differ = [name for name, versions in wanted.items() if _installed(name) not in versions]
    what = f"{len(wanted)} packages as in requirements.lock"
    if differ:
        what = f"not as in requirements.lock: {', '.join(differ[:5])} ({len(differ)} in all)"
    return Check(not differ, what, SETUP)


def _installed(name: str) -> str:
    try:
        return metadata.version(name).split("+")[0]  # torch adds +cpu or +cu130
    except metadata.PackageNotFoundError:
        return ""


def course_utils() -> Check:
    """The package of the notebooks imports."""
    import course_utils

    return Check(True, f"course_utils in {Path(course_utils.__file__).parent}")


def device() -> Check:
    """torch imports; which device the notebooks will use."""
    import torch
    from course_utils.core import DEVICE, PRECISION

    name = f" ({torch.cuda.get_device_name()})" if DEVICE.type == "cuda" else ""
    precision = str(PRECISION).removeprefix("torch.")
    where = f"{DEVICE.type}{name}, forward passes in {precision}"
    return Check(True, f"torch {torch.__version__} on {where}")


def disk() -> Check:
    """Room for samples and runs."""
    free = shutil.disk_usage(ROOT).free / 2**30
    mend = f"free {DISK_GB} GB; make clean removes old runs"
    return Check(free >= DISK_GB, f"{free:.0f} GB of disk free", mend)


def memory() -> Check:
    """Memory for two notebooks at a time, and the cores there are."""
    import psutil

    total = psutil.virtual_memory().total / 2**30
    mend = f"needs {MEMORY_GB} GB; try make run ONLY=... , one notebook at a time"
    return Check(total >= MEMORY_GB, f"{total:.0f} GB of memory, {os.cpu_count()} cores", mend)


def data_packages() -> Check:
    """Every line of requirements-data.txt has its archive in data/packages, undamaged."""
    text = (ROOT / "course_utils" / "data" / "requirements-data.txt").read_text("utf-8")
    wanted = dict(re.findall(r"(?m)^([\w.-]+)==.*--hash=sha256:(\w+)", text))
    files = sorted((ROOT / "data" / "packages").glob("[!.]*"))
    there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    missing = [name for name, digest in wanted.items() if digest not in there]
    what = f"missing or damaged in data/packages: {', '.join(missing)}"
    good = f"{len(wanted)} data packages with the right hashes"
    return Check(not missing, what if missing else good, SETUP)


def samples() -> Check:
    """The sample of the first lesson is built; builds it if not."""
    from course_utils.data import get_data

    return Check(True, f"sample data in {get_data('dogscats').parent}")


def kernel() -> Check:
    """Jupyter finds a Python kernel."""
    command = [sys.executable, "-m", "jupyter", "kernelspec", "list", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    return Check('"python3"' in done.stdout, "Jupyter kernel python3", SETUP)


def make() -> Check:
    """GNU make is there, for the commands of the README."""
    mend = "install it, or call the commands in Makefile by hand"
    return Check(shutil.which("make") is not None, "make", mend)


CHECKS = [
    python,
    make,
    disk,
    packages,
    memory,
    device,
    course_utils,
    data_packages,
    samples,
    kernel,
]


def _report(checks: Iterable[Callable[[], Check]]) -> list[Check]:
    return [_guarded(check) for check in checks]


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as e:  # one broken part must not hide the others
        return Check(False, f"{check.__name__.replace('_', ' ')}: {e}", SETUP)


def main() -> int:
    """Print the report; 1 if anything failed."""
    report = _report(CHECKS)
    print(*report, sep="\n")
    return int(not all(check.good for check in report))


if __name__ == "__main__":
    sys.exit(main())
