"""Sweeps through dask.distributed: processes on loopback, one of which is killed."""

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests
from distributed import Client, Security
from waiting import until

from tools import floors, sweep
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


def listening(process: psutil.Process) -> set[str]:
    """The addresses on which a process waits to be called; none if it has ended."""
    connections = []
    with suppress(psutil.Error):
        connections = process.net_connections("inet")
    return {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}


def answer(address: str, context: ssl.SSLContext | None) -> bytes:
    """What a listener says first: in plain text, or by TLS with the certificate of that context."""
    host, port = address.removeprefix("tls://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=300) as plain:
        plain.settimeout(300)
        if context is None:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return plain.recv(1)
        with context.wrap_socket(plain) as secret:
            return secret.recv(1)


def test_nobody_else_gets_into_a_sweep_on_this_machine(lessons, tmp_path):
    """Every process of it, kernels included, listens on loopback; without its certificate no one is answered."""
    options = ["--notebooks", str(lessons), "--original", os.devnull, "--threads", "1"]
    with sweep.cluster(workers=2) as client, ThreadPoolExecutor(1) as pool:
        done = pool.submit(sweep.sweep, client, ["a", "lesson6-sgd"], [3], tmp_path / "out", options)
        until(lambda: set(started(tmp_path)) == {"a", "lesson6-sgd"})
        me = psutil.Process()
        addresses = [listening(process) for process in [me, *me.children(recursive=True)]]
        information = client.scheduler_info()
        doors = [information["address"], *information["workers"]]
        doors += [worker["nanny"] for worker in information["workers"].values()]
        stranger = Security.temporary().get_connection_args("client")["ssl_context"]
        nobody = ssl.create_default_context()
        for context in (stranger, nobody):  # they trust anybody: it is the other side that refuses
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            assert len(doors) == 5
            for door in doors:
                assert door.startswith("tls://127.0.0.1:")
                for context in (stranger, nobody):
                    with pytest.raises((ssl.SSLError, ConnectionError)):
                        answer(door, context)
                with suppress(ConnectionError):
                    assert answer(door, None) == b""
            pages = [information["services"]["dashboard"]]
            pages += [worker["services"]["dashboard"] for worker in information["workers"].values()]
            for page in pages:
                told = requests.get(f"http://127.0.0.1:{page}/metrics", timeout=300)
                assert told.status_code == 404
        finally:
            (tmp_path / "go").touch()
        assert done.result() == {("a", 3): "", ("lesson6-sgd", 3): ""}
    assert set().union(*addresses) == {"127.0.0.1"}
    assert sum(map(bool, addresses)) >= 5  # this one, two workers, two kernels


RECORD = b'{"lesson": "a"}'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../../x", b""),
        ("results/../../../x", b""),
        ("/tmp/x-of-a-worker", b""),
        ("C:\\x", b""),
        ("..\\x", b""),
        ("link/x", b""),
        ("", b""),
        ("results/b.sample.cpu.json", b'{"lesson": "../../b"}'),
        ("results/a.sample.cuda.json", b"cut"),
        ("results/a.sample.mps.json", b"[]"),
    ],
)
def test_what_comes_back_is_refused_where_it_leads_elsewhere(tmp_path, name, content):
    """All of it, before anything is written."""
    folder = tmp_path / "out" / "3"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    done = sweep.Done(0, {"a.txt": b"said", "results/a.sample.cpu.json": RECORD, name: content})
    problem = sweep._written(done, folder, "a")
    assert problem.startswith("what came back is refused: ")
    assert name in problem or repr(name) in problem
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_comes_back_is_written_whole(tmp_path, monkeypatch):
    done = sweep.Done(0, {"a.txt": b"said", "results/a.sample.cpu.json": RECORD})
    assert sweep._written(done, tmp_path / "3", "a") == ""
    assert (tmp_path / "3" / "results" / "a.sample.cpu.json").read_bytes() == RECORD

    def full_disk(self, content):
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    assert "No space left on device" in sweep._written(done, tmp_path / "3", "a")
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"3/a.txt", "3/results/a.sample.cpu.json"}
    assert (tmp_path / "3" / "a.txt").read_bytes() == b"said"


def test_names_that_lead_out_of_the_folder_are_not_swept(tmp_path, capsys):
    assert sweep.main(["--only", "../../x", "--out", str(tmp_path)]) == 2
    assert "sweep: '../../x' is no name inside" in capsys.readouterr().err
    expected = tmp_path / "expected.toml"
    expected.write_text('["../../x"]\nkey = "a"\n["../../x".stages]\n'.replace("\\", ""))
    assert floors.main(["../../x", "--expected", str(expected)]) == 1
    assert "floors: '../../x' is no name inside" in capsys.readouterr().err
