"""Where a result comes from: device, versions, commit, data."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .core import DEVICE
from .data import fingerprint
from .files import ROOT

__all__ = ["provenance"]


def provenance(data: Path | None) -> dict[str, Any]:
    name = (
        torch.cuda.get_device_name()
        if DEVICE.type == "cuda"
        else platform.processor() or platform.machine()
    )
    versions = {
        package: version(package) for package in ("torch", "torchvision", "numpy", "pandas")
    }
    return {
        "device": {"type": DEVICE.type, "name": name},
        "versions": versions | {"python": platform.python_version()},
        "commit": _commit(),
        "data": data and fingerprint(data),
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str | None:
    """COURSE_COMMIT if set; else that of this checkout, +changes if more than notebooks and results differ."""
    if given := os.environ.get("COURSE_COMMIT"):
        return given
    git = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, check=True)
    here = ["git", "--git-dir=.git", "--work-tree=."]  # not a repository further up
    try:
        head = git([*here, "rev-parse", "HEAD"]).stdout.strip()
        changes = git(
            [*here, "status", "--porcelain", "--", ".", ":(exclude)nbs", ":(exclude)results"]
        ).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return None
    return head + "+changes" * bool(changes)
