"""Sweeps through dask.distributed: processes on loopback, one of which is killed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client
from waiting import until

from tools import sweep
from tools.run import __main__ as command

WAITS = """\
import os, time
from pathlib import Path
from course_utils.results import begin, record
with open(os.environ["STARTS"], "a") as file:
    file.write("{name} " + os.environ.get("COURSE_WORK", "shared") + "\\n")
begin("{name}", SIZE, SEED)
while not Path(os.environ["STARTS"]).with_name("go").exists():
    time.sleep(0.1)
record("accuracy", ACCURACY + SEED / 100)"""


@pytest.fixture
def lessons(tmp_path, notebook, monkeypatch) -> Path:
    """A folder with two notebooks that note that they have started, and wait for a file `go` beside the notes.

    One has the name of a lesson, and nothing that this lesson must reach.
    """
    for name in ("a", "lesson6-sgd"):
        notebook(tmp_path / "nbs" / f"{name}.ipynb", [WAITS.format(name=name)])
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    return tmp_path / "nbs"


@pytest.fixture
def workers(tmp_path, lessons) -> Iterator[tuple[str, dict[str, subprocess.Popen]]]:
    """A scheduler and two workers, each a process; the address, and the workers by name."""
    file = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", *options, "--port", "0"]
    scheduler = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started: dict[str, subprocess.Popen] = {}
    try:
        until(file.exists)
        for name in ("one", "two"):
            start = [sys.executable, "-m", "distributed.cli.dask_worker", *options[:4], "--nthreads", "1", "--no-nanny"]
            start += ["--name", name, "--no-dashboard"]
            started[name] = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield json.loads(file.read_text())["address"], started
    finally:
        for process in [*started.values(), scheduler]:
            kill(process)
            process.wait()


def kill(worker: subprocess.Popen) -> None:
    """As when a machine goes away: the worker and all that it runs."""
    if worker.poll() is None:
        for process in [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # what a worker runs may have ended with it
                process.kill()


def test_a_worker_killed_in_mid_run_costs_no_lesson_and_doubles_none(workers, lessons, tmp_path):
    """Each record is that of a local run; a stage below its floor is not a failure of the sweep."""
    address, processes = workers
    options = ["--notebooks", str(lessons), "--original", os.devnull, "--threads", "1"]
    with Client(address) as client, ThreadPoolExecutor(1) as pool:
        client.wait_for_workers(2)
        done = pool.submit(sweep.sweep, client, ["a", "lesson6-sgd"], [3], tmp_path / "out", options)
        until(lambda: set(started(tmp_path)) == {"a", "lesson6-sgd"} and all(client.processing().values()))
        kill(processes["one"])
        (tmp_path / "go").touch()
        problems = done.result()
    assert problems == {("a", 3): "", ("lesson6-sgd", 3): ""}
    assert set(started(tmp_path)) == {"a", "lesson6-sgd"}
    works = [line.split()[1] for line in (tmp_path / "starts").read_text().splitlines()]
    assert "shared" not in works
    assert len(set(works)) == len(works)
    command.main([*options, "--only", "a", "--seed", "3", "--out", str(tmp_path / "here")])
    folders = [tmp_path / "out" / "3" / "results", tmp_path / "here" / "results"]
    there, here = (json.loads(next(folder.glob("a.*.json")).read_text()) for folder in folders)
    values = [[(s["name"], s["value"]) for s in record["stages"]] for record in (there, here)]
    assert values[0] == values[1] == [("accuracy", 0.93)]
    assert all(there[key] == here[key] for key in ("lesson", "size", "seed", "device", "versions", "commit", "threads"))
    assert (tmp_path / "out" / "3" / "lesson6-sgd.ipynb").exists()


def started(folder: Path) -> list[str]:
    file = folder / "starts"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def test_a_cluster_of_this_machine(tmp_path):
    """No GPU: as many workers as asked for, each does one thing at a time and says what is wrong."""
    with sweep.cluster(workers=2) as client:
        assert [worker["nthreads"] for worker in client.scheduler_info()["workers"].values()] == [1, 1]
        earlier = tmp_path / "1" / "results" / "nowhere.sample.cpu.json"  # a record that does not count
        earlier.parent.mkdir(parents=True)
        earlier.write_text("{}")
        problems = sweep.sweep(client, ["nowhere"], [1], tmp_path, ["--threads", "1"])
    assert "no notebook nowhere" in problems["nowhere", 1]
