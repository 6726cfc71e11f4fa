"""Lessons x seeds on all the machines there are, through dask.distributed.

`python -m tools.sweep --only lesson7-cifar10 --seeds 1 2 3 4 5` runs on this machine, with a worker
for each GPU, or with two that share the cores. `--scheduler tcp://HOST:8786` uses a cluster that is
there already; start its workers in a checkout set up like this one, with CUDA_VISIBLE_DEVICES one
for each GPU: `dask worker tcp://HOST:8786 --nthreads 1`.

A worker does what `make run` does, in a process of its own. What that wrote comes back and is put
into OUT/SEED, in the same form; a run whose worker died is done again on another.

On this machine everything listens on loopback, and talks by TLS with a certificate made for the
sweep: nobody else gets in, be it another user of the machine. Whoever reaches the scheduler of a
cluster, or one of its workers, can run code on all of them, and by what comes back on this machine
too: name only a cluster that you trust, in a network that others do not reach, or behind TLS
(CONTRIBUTING.md).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import dask
import torch
from course_utils.files import atomic, inside
from distributed import Client, Nanny, Scheduler, Security, SpecCluster, as_completed
from joblib import cpu_count

from tools import ROOT
from tools.run import NOTEBOOKS, find
from tools.run.execute import CELL_TIMEOUT

__all__ = ["Done", "add_arguments", "cluster", "main", "perform", "sweep", "sweep_as_told"]

OUT = ROOT / ".runs" / "sweep"
NO_FLOORS = ("--expected", os.devnull)
SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # no second run waits for a busy worker
    "distributed.scheduler.http.routes": [],  # pages without a password
    "distributed.worker.http.routes": [],
}
LOOPBACK = "127.0.0.1"


class Done(NamedTuple):
    """The exit code of the runner, and the files that it wrote by name.

    What it printed is among them, as NAME.txt.
    """

    code: int
    files: dict[str, bytes]


def perform(name: str, seed: int, options: Sequence[str] = ()) -> Done:
    """On a worker: run a notebook, with no floors to reach.

    Weights and activations go where no run beside it writes its own.
    """
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "tools.run", "--only", name, "--seed", str(seed)]
        command += ["--out", out, *NO_FLOORS, *options]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"COURSE_WORK": work},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        files = {f"{name}.txt": done.stdout}
        for path in sorted(Path(out).rglob("[!.]*")):
            if path.is_file():
                files[path.relative_to(out).as_posix()] = path.read_bytes()
        return Done(done.returncode, files)


@contextmanager
def cluster(scheduler: str | None = None, workers: int = 2) -> Iterator[Client]:
    """A client of the cluster at `scheduler`, or of one on this machine.

    That has a worker for each GPU, or `workers` where there is none.
    """
    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    places = [{"CUDA_VISIBLE_DEVICES": str(i)} for i in range(torch.cuda.device_count())]
    if not places:
        places = [{}] * workers
    certificate = Security.temporary()
    closed = {"host": LOOPBACK, "protocol": "tls", "security": certificate}
    pages = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}  # any free port
    specs = {}
    for i, place in enumerate(places):
        specs[i] = {"cls": Nanny, "options": {**closed, **pages, "nthreads": 1, "env": place}}
    local = {"cls": Scheduler, "options": {**closed, **pages, "port": 0}}
    with (
        dask.config.set(SETTINGS),
        SpecCluster(specs, local, security=certificate) as made,
        Client(made) as client,
    ):
        yield client


def sweep(
    client: Client,
    names: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    options: Sequence[str] = (),
) -> dict[tuple[str, int], str]:
    """Run each notebook with each seed, and write what comes back below out/SEED.

    (name, seed) -> what is wrong, or "". A value below its floor is not wrong here: floors are
    measured in this way, too.
    """
    pairs = {f"{name} seed {seed}": (name, seed) for seed in seeds for name in names}
    futures = [
        client.submit(perform, name, seed, options, key=key, pure=False)
        for key, (name, seed) in pairs.items()
    ]
    problems = {}
    for future, done in as_completed(futures, with_results=True, raise_errors=False):
        name, seed = pairs[future.key]
        if future.status == "error":
            problem = repr(future.exception())
        else:
            problem = _written(done, out / str(seed), name)
        problems[name, seed] = problem
        print(f"{future.key}: {'failed' if problem else 'finished'}", flush=True)
    return problems


def _written(done: Done, folder: Path, name: str) -> str:
    """Write what came back; what is wrong, or ""."""
    try:
        _write(done.files, folder, name)
    except (ValueError, OSError) as e:  # a name that leads elsewhere; a full disk
        return f"what came back is refused: {e}"
    return _problem(name, done)


def _problem(name: str, done: Done) -> str:
    """All that the runner printed, if it failed or brought no record; else ""."""
    came = any(file.startswith(f"results/{name}.") for file in done.files)
    if done.code == 0 and came:
        return ""
    return done.files.get(f"{name}.txt", b"").decode(errors="replace") or "it brought no record"


def _write(files: dict[str, bytes], folder: Path, name: str) -> None:
    """Write the files of a run of `name`; ValueError, before that, if one does not belong there."""
    paths = {inside(folder, file): content for file, content in files.items()}
    for file, content in files.items():
        if PurePosixPath(file).parts[0] == "results":
            _refuse_other(file, content, name)
    for path, content in paths.items():
        with atomic(path) as part:
            part.write_bytes(content)


def _refuse_other(file: str, content: bytes, name: str) -> None:
    """ValueError for a record that is not one of the lesson that was asked for."""
    try:
        lesson = json.loads(content)["lesson"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file} is no record of a lesson") from None
    if lesson != name:
        raise ValueError(f"{file} is a record of {lesson!r}, not of {name!r}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sweep_as_told`."""
    workers = min(2, cpu_count())
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a cluster that is there already")
    parser.add_argument(
        "--workers", type=int, default=workers, help="on this machine, without a GPU"
    )
    parser.add_argument(
        "--notebooks", type=Path, default=NOTEBOOKS, metavar="DIR", help="default: nbs"
    )


def sweep_as_told(
    args: argparse.Namespace, names: Sequence[str], out: Path, options: Sequence[str] = ()
) -> dict[tuple[str, int], str]:
    """A `sweep` on the cluster, and with the seeds, that a command line asks for.

    ValueError for a notebook whose name leads out of a folder.
    """
    for name in names:
        inside(out, name)
    options = ["--notebooks", str(args.notebooks.resolve()), *options]
    if args.scheduler is None and not torch.cuda.is_available():
        options += ["--threads", str(cpu_count() // args.workers)]
    with cluster(args.scheduler, args.workers) as client:
        return sweep(client, names, args.seeds, out.resolve(), options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print what failed; the exit code."""
    p = argparse.ArgumentParser("python -m tools.sweep", description="Lessons x seeds.")
    p.add_argument("--only", nargs="+", metavar="NAME", help="these notebooks, not all")
    p.add_argument("--size", choices=sorted(CELL_TIMEOUT), default="sample", help="which data")
    p.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default: .runs/sweep")
    add_arguments(p)
    args = p.parse_args(argv)
    names = args.only or list(find(args.notebooks))
    try:
        problems = sweep_as_told(args, names, args.out, ["--size", args.size])
    except ValueError as e:
        print(f"sweep: {e}", file=sys.stderr)
        return 2
    for (name, seed), problem in problems.items():
        if problem:
            print(f"\n{name}, seed {seed}:\n{problem}")
    print(f"records and executed notebooks: {args.out}/SEED")
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
