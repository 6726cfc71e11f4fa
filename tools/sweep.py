"""Lessons x seeds on all the machines there are, through dask.distributed.

`python -m tools.sweep --only lesson7-cifar10 --seeds 1 2 3 4 5` runs on this machine, with a worker
for each GPU, or with two that share the cores. `--scheduler tcp://HOST:8786` uses a cluster that is
there already; start its workers in a checkout set up like this one, with CUDA_VISIBLE_DEVICES one
for each GPU: `dask worker tcp://HOST:8786 --nthreads 1`.

A worker does what `make run` does, in a process of its own. What that wrote comes back and is put
into OUT/SEED, in the same form; a run whose worker died is done again on another.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dask
import torch
from distributed import Client, Nanny, Scheduler, SpecCluster, as_completed
from joblib import cpu_count

from tools import ROOT
from tools.run import NOTEBOOKS, find
from tools.run.execute import CELL_TIMEOUT

__all__ = ["Done", "add_arguments", "cluster", "main", "perform", "sweep", "sweep_as_told"]

OUT = ROOT / ".runs" / "sweep"
NO_FLOORS = ("--expected", os.devnull)
ONE_EACH = {"distributed.scheduler.worker-saturation": 1.0}  # no second run waits for a busy worker


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
        for path in sorted(Path(out).rglob("*")):
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
    specs = {}
    for i, place in enumerate(places):
        specs[i] = {"cls": Nanny, "options": {"nthreads": 1, "env": place}}
    address = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}  # any free ports
    local = {"cls": Scheduler, "options": {**address, "dashboard": False}}
    with dask.config.set(ONE_EACH), SpecCluster(specs, local) as made, Client(made) as client:
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
            _write(done.files, out / str(seed))
            problem = _problem(name, done)
        problems[name, seed] = problem
        print(f"{future.key}: {'failed' if problem else 'finished'}", flush=True)
    return problems


def _problem(name: str, done: Done) -> str:
    """All that the runner printed, if it failed or brought no record; else ""."""
    came = any(file.startswith(f"results/{name}.") for file in done.files)
    if done.code == 0 and came:
        return ""
    return done.files[f"{name}.txt"].decode(errors="replace")


def _write(files: dict[str, bytes], folder: Path) -> None:
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


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
    """A `sweep` on the cluster, and with the seeds, that a command line asks for."""
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
    problems = sweep_as_told(args, names, args.out, ["--size", args.size])
    for (name, seed), problem in problems.items():
        if problem:
            print(f"\n{name}, seed {seed}:\n{problem}")
    print(f"records and executed notebooks: {args.out}/SEED")
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
