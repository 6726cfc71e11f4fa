"""nbval, which compares the outputs of marked cells."""

import json
import os
import subprocess
import sys

import pytest

from tools import ROOT, run
from tools.run.execute import kernel_environment


@pytest.mark.notebook
@pytest.mark.parametrize("changed", [False, True])
def test_nbval_agrees(changed, tmp_path):
    """Content with the first cells of lesson 4 as committed, and not with a changed output."""
    notebook = json.loads((run.NOTEBOOKS / "lesson4-imdb.ipynb").read_text("utf-8"))
    last = next(i for i, cell in enumerate(notebook["cells"]) if "NBVAL_CHECK_OUTPUT" in "".join(cell["source"]))
    if changed:
        notebook["cells"][last]["outputs"][0]["text"] = ["something else\n"]
    part = tmp_path / "part.ipynb"
    part.write_text(json.dumps(notebook | {"cells": notebook["cells"][: last + 1]}), "utf-8")
    options = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environment = os.environ | kernel_environment(tmp_path, threads=1)
    command = [sys.executable, "-m", "pytest", *options, str(part)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == changed, done.stdout
