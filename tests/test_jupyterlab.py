"""The lessons in a real JupyterLab, driven by headless Chromium, as a learner would open them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from waiting import BROWSER, until

from tools import run
from tools.run.execute import kernel_environment

NAMES = list(run.find(run.NOTEBOOKS))
SHOTS = run.NOTEBOOKS.parent / ".runs" / "screenshots"
AGAIN = "lesson5-movielens"  # executed anew: short, and its trainings last long enough to be watched
SIZE = {"width": 1200, "height": 1000}  # of the page, in pixels; a line of 120 characters fits
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False},
    "apputils-extension/notification": {"fetchNews": "false"},
}
NOISE = re.compile(r"Javascript Error|Error displaying widget|Error rendering|Loading widget|Show more outputs")
FORMULA = re.compile(r"`.*?`|(?P<formula>\$\$.+?\$\$|\$.+?\$)", re.DOTALL)  # no dollar sign of code

OPEN = """path => jupyterapp.commands.execute('docmanager:open', {
    path, kernelPreference: {shouldStart: false, canStart: false}}).then(() => null)"""
SHOWN = """() => {
    const all = css => [...document.querySelectorAll('.jp-Notebook ' + css)];
    return {
        cells: all('.jp-Cell').length,
        figures: all('.jp-OutputArea-output img').filter(i => i.complete && i.naturalWidth > 0).length,
        tables: all('.jp-OutputArea-output table').length,
        formulas: all('mjx-container:not(:has(mjx-merror))').length,
        errors: all('[data-mime-type$=stderr], [data-mime-type$=error]').length,
        headings: all('.jp-RenderedMarkdown :is(h1, h2, h3, h4)').map(h => h.textContent.replace('¶', '')),
    }}"""
NOTEBOOK = "() => jupyterapp.shell.currentWidget.context.model.toJSON()"
SAVE = "() => jupyterapp.shell.currentWidget.context.save()"  # the file is whole when its promise is kept
PANEL = "document.querySelector('.jp-Notebook .jp-WindowedPanel-outer')"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the lessons; in `again.ipynb` one to run."""
    copy = tmp_path_factory.mktemp("lab") / "nbs"
    shutil.copytree(run.NOTEBOOKS, copy)
    shutil.copy(copy / f"{AGAIN}.ipynb", copy / "again.ipynb")
    return copy


@pytest.fixture(scope="module")
def lab(browser, folder) -> Iterator[str]:
    """The address of a JupyterLab on `folder`, with settings of its own."""
    settings = folder.parent / "settings"
    for name, values in SETTINGS.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    options = [
        f"--port={port}",
        "--no-browser",
        "--allow-root",
        "--expose-app-in-browser",
        "--IdentityProvider.token=",
        f"--notebook-dir={folder}",
    ]
    own = {"JUPYTERLAB_SETTINGS_DIR": str(settings), "JUPYTERLAB_WORKSPACES_DIR": str(folder.parent / "workspaces")}
    environment = os.environ | kernel_environment(folder.parent, threads=1) | own
    command = [sys.executable, "-m", "jupyterlab", *options]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(url))
        yield url
    finally:
        server.terminate()
        server.wait()


def answers(url: str) -> bool:
    """Whether JupyterLab is there."""
    try:
        return requests.get(f"{url}/api", timeout=60).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def page(lab, browser):
    """JupyterLab in Chromium."""
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(BROWSER)
    load(page, f"{lab}/lab")
    return page


def load(page, url: str) -> None:
    """Open an address of JupyterLab, with the file browser shut."""
    page.set_viewport_size(SIZE)
    page.goto(url)
    page.wait_for_function("window.jupyterapp?.restored")
    page.evaluate("jupyterapp.restored.then(() => jupyterapp.shell.collapseLeft())")


@pytest.fixture
def wrong(page) -> Iterator[list[str]]:
    """What the page writes to the console as an error."""
    found: list[str] = []
    listeners = {
        "console": lambda message: found.append(message.text) if message.type == "error" else None,
        "pageerror": lambda error: found.append(str(error)),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    yield found
    for event, listener in listeners.items():
        page.remove_listener(event, listener)


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_looks_as_committed(name, lab, page, wrong, folder):
    """Every cell, figure, table and heading is there, and no kernel is needed to see them."""
    page.set_viewport_size(SIZE)
    page.evaluate("jupyterapp.commands.execute('application:close-all').then(() => null)")
    page.wait_for_function("!document.querySelector('.jp-Notebook')")
    page.evaluate(OPEN, f"{name}.ipynb")
    check(page, folder / f"{name}.ipynb")
    photograph(page, name)
    sessions = requests.get(f"{lab}/api/sessions", timeout=600).json()
    assert f"{name}.ipynb" not in [session["path"] for session in sessions]
    assert wrong == []


def test_a_lesson_runs_from_the_menu(lab, page, wrong, folder):
    """Run All Cells: no error, the tables and figures are there, and nothing of a widget is saved."""
    load(page, f"{lab}/lab/tree/again.ipynb?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_text("Edit", exact=True).first.click()
    page.get_by_text("Clear Outputs of All Cells").click()
    page.wait_for_function("!document.querySelector('.jp-OutputArea-output')")
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    seen = watch(page)
    page.evaluate(SAVE)
    complete = epochs(json.loads((run.NOTEBOOKS / f"{AGAIN}.ipynb").read_text("utf-8")))
    assert complete <= seen
    assert seen - complete, "no table was seen to grow"
    assert held(folder / "again.ipynb") == held(run.NOTEBOOKS / f"{AGAIN}.ipynb")
    check(page, folder / "again.ipynb")
    photograph(page, "again")
    assert wrong == []


def epochs(notebook: dict) -> set[int]:
    """The numbers of rows of the tables of epochs in a notebook."""
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    shown = ["".join(o.get("data", {}).get("text/html", "")) for o in outputs]
    return {html.count("<tr") - 1 for html in shown if "val_loss" in html}


def watch(page) -> set[int]:
    """Row counts of the epoch tables, looked up again and again while the notebook runs."""
    seen: set[int] = set()
    started = False
    while True:
        page.wait_for_timeout(1000)
        notebook = page.evaluate(NOTEBOOK)
        seen |= epochs(notebook)
        done = all(c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code")
        if done and started:
            return seen
        started = started or not done


def check(page, file: Path, seconds: float = 300) -> None:
    """The page comes to show what the file holds, which is no error and no state of a widget."""
    notebook = json.loads(file.read_text("utf-8"))
    outputs = [o for c in notebook["cells"] for o in c.get("outputs", [])]
    assert not [o["evalue"] for o in outputs if o["output_type"] == "error"]
    assert not [kind for o in outputs for kind in o.get("data", {}) if "widget" in kind]
    assert "widgets" not in notebook["metadata"]
    end = time.monotonic() + seconds
    while page.evaluate(SHOWN) != held(file) and time.monotonic() < end:
        page.wait_for_timeout(100)
    assert page.evaluate(SHOWN) == held(file)
    assert NOISE.findall(page.locator(".jp-Notebook").inner_text()) == []


def held(file: Path) -> dict:
    """How many cells, figures and tables a notebook holds, and its headings."""
    cells = json.loads(file.read_text("utf-8"))["cells"]
    shown = [o.get("data", {}) for c in cells for o in c.get("outputs", [])]
    prose = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    headings = [h for text in prose for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {
        "cells": len(cells),
        "figures": sum(any(kind.startswith("image/") for kind in data) for data in shown),
        "tables": sum("".join(data.get("text/html", "")).count("<table") for data in shown),
        "formulas": sum(bool(m["formula"]) for text in prose for m in FORMULA.finditer(text)),
        "errors": 0,
        "headings": [re.sub(r"\[([^]]+)\]\([^)]+\)|[`*]", r"\1", h) for h in headings],
    }


def photograph(page, name: str) -> None:
    """Keep a picture of the whole notebook in SHOTS."""
    page.set_viewport_size(SIZE | {"height": page.evaluate(f"{PANEL}.scrollHeight") + 150})
    page.wait_for_function(f"{PANEL}.clientHeight >= {PANEL}.scrollHeight")
    shot = SHOTS / f"{name}.png"
    shot.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=shot)
