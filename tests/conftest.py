"""What several test modules share."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

os.environ["MPLBACKEND"] = "Agg"  # before matplotlib is imported

import torch
from joblib import cpu_count

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else cpu_count())

PARAMETERS = """\
SIZE: str = "sample"  # or "full"
SEED: int = 42  # any whole number
ACCURACY: float = 0.9  # recorded as it is"""

BODY = """\
from course_utils.results import begin, record
begin("tiny", SIZE, SEED)
record("accuracy", ACCURACY)"""


@pytest.fixture(autouse=True)
def own_environment(monkeypatch) -> None:
    """A test starts from an environment of its own, whatever the user, or the test before, has set."""
    for name in [name for name in os.environ if name.startswith("COURSE_")]:
        monkeypatch.delenv(name)


def pytest_configure() -> None:
    """So do the fixtures that several tests share; and `make` in a test knows of no `make` around it."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
    for name in [name for name in os.environ if name.startswith("COURSE_") or name in inherited]:
        del os.environ[name]


@pytest.fixture
def notebook() -> Callable[..., Path]:
    """write(path, sources, parameters): a notebook of code cells with its parameters cell."""
    from support import cell

    def write(path: Path, sources: Sequence[str] = (BODY,), parameters: str = PARAMETERS) -> Path:
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        first = cell("code", parameters, metadata={"tags": ["parameters"]})
        cells = [cell("markdown", "# Tiny"), first, *(cell("code", s) for s in sources)]
        metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
        content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), "utf-8")
        return path

    return write


@pytest.fixture
def learn(tmp_path):
    """A `Learner` of a small network; of another one in modules that have their own."""
    from support import small_learner

    return small_learner(tmp_path)


@pytest.fixture
def exact(monkeypatch) -> None:
    """float32 on a GPU too, for what is compared bit for bit."""
    monkeypatch.setattr("course_utils.training.autocast", nullcontext)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of reduced real data beside the checkout, a COURSE_MIRROR."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "SHA256SUMS").exists():
        pytest.skip(f"there is no real data in {folder}")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium, driven by playwright; Debian's, since playwright's own build is a download."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("there is no Chromium: install Debian's package chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=found, args=flags)
        yield chromium
        chromium.close()
