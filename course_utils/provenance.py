"""Where a result comes from: device, versions, commit, data, memory."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from .core import DEVICE
from .data import fingerprint
from .files import ROOT

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

__all__ = ["peak_memory_gb", "provenance"]

PACKAGES = ("torch", "torchvision", "numpy", "pandas")
NOT_CODE = (":(exclude)nbs", ":(exclude)results")  # a change there makes no other numbers


def provenance(data: Path | None = None) -> dict[str, Any]:
    """What a record says of its run; `data`: the folder whose files it was made from."""
    versions = {package: version(package) for package in PACKAGES}
    return {
        "device": {"type": DEVICE.type, "name": _device_name()},
        "versions": versions | {"python": platform.python_version()},
        "commit": _commit(),
        "data": None if data is None else fingerprint(data),
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def peak_memory_gb() -> float:
    """The most memory that this process has taken, in GiB."""
    if resource is None:
        memory = psutil.Process().memory_info()
        return getattr(memory, "peak_wset", memory.rss) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _device_name() -> str:
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """COURSE_COMMIT if set; else that of this checkout, +changes if its code is another."""
    given = os.environ.get("COURSE_COMMIT")
    if given:
        return given
    try:
        head = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--", ".", *NOT_CODE)
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return None
    return f"{head}+changes" if changes else head


def _git(*args: str) -> str:
    """What git prints in this checkout, not in a repository further up."""
    here = ["git", "--git-dir=.git", "--work-tree=."]
    done = subprocess.run([*here, *args], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
