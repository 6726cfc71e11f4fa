"""Other systems: the package and the runner with the modules of Unix hidden, the units of memory."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from course_utils import provenance
from tools import ROOT

HIDDEN = """\
import importlib, json, pkgutil, sys
from pathlib import Path
import filelock, IPython, papermill, psutil, sklearn, torchvision  # they have a way of their own on Windows
ours = ("course_utils", "tools")
assert not [name for name in sys.modules if name.startswith(ours)]
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
import course_utils
for module in pkgutil.walk_packages(course_utils.__path__, "course_utils."):
    importlib.import_module(module.name)
from tools.run.__main__ import main
folder = Path(sys.argv[1])
for cell in json.loads((folder / "nbs" / "tiny.ipynb").read_text("utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), globals())
sys.exit(main(["--notebooks", str(folder / "nbs"), "--out", str(folder / "out")]))"""

BODY = """\
import torch
from course_utils.vision import ImageClassifierData
from course_utils.learner import Learner
from course_utils.results import begin, record, results_table
begin("tiny", SIZE, SEED)
x, y = torch.randn(32, 4), torch.arange(32) % 2
data = ImageClassifierData.from_arrays(".", (x, y), (x, y), bs=8)
learn = Learner(data, torch.nn.Linear(4, 2), crit=torch.nn.functional.cross_entropy)
record("loss", learn.fit(0.1, 1)[0])
results_table()"""


def test_a_lesson_runs_without_the_modules_of_unix(tmp_path, notebook, monkeypatch):
    """Its cells in that process, then the runner with its lock, its workers and their end."""
    notebook(tmp_path / "nbs" / "tiny.ipynb", [BODY])
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "here"))
    command = [sys.executable, "-c", HIDDEN, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    records = [json.loads(next(tmp_path.glob(f"{name}/tiny.*.json")).read_text()) for name in ("here", "out/results")]
    assert records[0]["stages"][0]["value"] == records[1]["stages"][0]["value"]
    assert all(record["memory_gb"] > 0 for record in records)


@pytest.mark.parametrize(("platform", "counted"), [("linux", 3 * 2**20), ("darwin", 3 * 2**30)])
def test_peak_memory_is_in_gib_on_linux_and_macos(monkeypatch, platform, counted):
    """One counts KiB, the other bytes."""
    resource = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=counted))
    monkeypatch.setattr(provenance, "resource", resource)
    monkeypatch.setattr(provenance.sys, "platform", platform)
    assert provenance.peak_memory_gb() == 3


def test_peak_memory_is_in_gib_on_windows(monkeypatch):
    memory = SimpleNamespace(rss=2**30, peak_wset=3 * 2**30)
    monkeypatch.setattr(provenance, "resource", None)
    monkeypatch.setattr(provenance.psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: memory))
    assert provenance.peak_memory_gb() == 3
