"""Lesson 1 in a real JupyterLab, driven by headless Chromium, as a learner would open it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tools import run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab on a copy of the lessons."""
    folder = tmp_path / "nbs"
    shutil.copytree(run.NOTEBOOKS, folder)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    options = [
        f"--port={port}",
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        f"--notebook-dir={folder}",
    ]
    environment = os.environ | run.kernel_environment(tmp_path, run.cores())
    command = [sys.executable, "-m", "jupyterlab", *options]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def wait_for(url: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if requests.get(f"{url}/api", timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer within {seconds:.0f} s")


def test_lesson1_runs_from_the_menu(lab, browser, tmp_path):
    """Run All Cells: no error, the tables and figures are there, and nothing of a widget is saved."""
    shots = run.NOTEBOOKS.parent / ".runs" / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.goto(f"{lab}/lab/tree/lesson1-dogscats.ipynb")
    page.get_by_text("Run", exact=True).first.wait_for(timeout=60_000)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.get_by_text("Edit", exact=True).first.click()
    page.get_by_text("Clear Outputs of All Cells").click()
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    seen = watch(page, tmp_path / "nbs" / "lesson1-dogscats.ipynb")
    page.screenshot(path=shots / "lesson1-dogscats.png")
    saved = run_checks(tmp_path / "nbs" / "lesson1-dogscats.ipynb")
    assert max(seen) >= 7, "the table of the longest training never showed seven rows"
    assert len(seen) > 2, "no table was seen to grow"
    assert saved["jpeg"] >= 14


def watch(page, file: Path, seconds: float = 600) -> set[int]:
    """Row counts of the epoch tables, as saved again and again while the notebook runs."""
    seen: set[int] = set()
    started = False
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        cells = [c for c in json.loads(file.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
        shown = ["".join(o.get("data", {}).get("text/html", "")) for c in cells for o in c["outputs"]]
        seen |= {html.count("<tr") - 1 for html in shown if "val_loss" in html}
        done = all(c["execution_count"] for c in cells)
        if done and started:
            return seen
        started = started or not done
    pytest.fail(f"cells had not run after {seconds:.0f} s")


def run_checks(file: Path) -> dict[str, int]:
    notebook = json.loads(file.read_text("utf-8"))
    outputs = [o for c in notebook["cells"] if c["cell_type"] == "code" for o in c["outputs"]]
    errors = [o["evalue"] for o in outputs if o["output_type"] == "error"]
    kinds = [kind for o in outputs for kind in o.get("data", {})]
    assert not errors
    assert "widgets" not in notebook["metadata"]
    assert not [k for k in kinds if "widget" in k]
    return {"jpeg": kinds.count("image/jpeg")}
