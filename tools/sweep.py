"""Lessons x seeds on all the machines there are, through dask.distributed.

`python -m tools.sweep --only lesson7-cifar10 --seeds 1 2 3 4 5` runs on this machine, with a worker for each GPU, or
with two that share the cores. `--scheduler tcp://HOST:8786` uses a cluster that is there already; start its workers in
a checkout set up like this one: `dask worker tcp://HOST:8786 --nthreads 1`, with CUDA_VISIBLE_DEVICES one for each GPU.

A worker does what `make run` does, in a process of its own. What that wrote comes back and is put into OUT/SEED, in the
same form; a run whose worker died is done again on another.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dask
import torch
from distributed import Client, Nanny, Scheduler, SpecCluster, as_completed

from tools import expected, run

__all__ = ["add_arguments", "cluster", "main", "perform", "sweep", "sweep_as_told"]

OUT = expected.ROOT / ".runs" / "sweep"
ONE_EACH = {"distributed.scheduler.worker-saturation": 1.0}  # no second run waits for a busy worker


def perform(name: str, seed: int, options: Sequence[str] = ()) -> tuple[int, dict[str, bytes]]:
    """On a worker: run a notebook, with no floors to reach. The exit code of the runner, and its files by name.

    What it printed is among them, as NAME.txt. Weights and activations go where no run beside it writes its own.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as work:
        command = [
            sys.executable,
            "-m",
            "tools.run",
            "--only",
            name,
            "--seed",
            str(seed),
            "--out",
            folder,
        ]
        command += ["--expected", os.devnull, *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(
            command, cwd=expected.ROOT, env=os.environ | {"COURSE_WORK": work}, **pipes
        )
        files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        return done.returncode, found | {f"{name}.txt": done.stdout}


@contextmanager
def cluster(scheduler: str | None = None, workers: int = 2) -> Iterator[Client]:
    """A client of the cluster at `scheduler`, or of one on this machine: a worker a GPU, or `workers` without any."""
    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    gpus = torch.cuda.device_count()
    places = [{"CUDA_VISIBLE_DEVICES": str(i)} for i in range(gpus)] or [{}] * workers
    specs = {
        i: {"cls": Nanny, "options": {"nthreads": 1, "env": place}}
        for i, place in enumerate(places)
    }
    local = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    with dask.config.set(ONE_EACH), SpecCluster(specs, local) as made, Client(made) as client:
        yield client


def sweep(
    client: Client,
    names: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    options: Sequence[str] = (),
) -> dict[tuple[str, int], str]:
    """Run each notebook with each seed, write what comes back below out/SEED; (name, seed) -> what is wrong, or "".

    A value below its floor is not wrong here: floors are measured in this way, too.
    """
    keys = {f"{name} seed {seed}": (name, seed) for seed in seeds for name in names}
    futures = [
        client.submit(perform, *pair, options, key=key, pure=False) for key, pair in keys.items()
    ]
    problems = {}
    for future, result in as_completed(futures, with_results=True, raise_errors=False):
        name, seed = keys[future.key]
        if future.status == "error":
            problems[name, seed] = repr(future.exception())
        else:
            code, files = result
            _write(files, out / str(seed))
            came = any(
                file.startswith(f"results/{name}.") for file in files
            )  # in `out` may lie those of earlier runs
            text = files[f"{name}.txt"].decode(errors="replace")
            problems[name, seed] = text if code or not came else ""
        print(f"{future.key}: {'failed' if problems[name, seed] else 'finished'}", flush=True)
    return problems


def _write(files: dict[str, bytes], folder: Path) -> None:
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sweep_as_told`."""
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a cluster that is there already")
    parser.add_argument(
        "--workers", type=int, default=min(2, run.cores()), help="on this machine, without a GPU"
    )
    parser.add_argument(
        "--notebooks", type=Path, default=run.NOTEBOOKS, metavar="DIR", help="default: nbs"
    )


def sweep_as_told(
    args: argparse.Namespace, names: Sequence[str], out: Path, options: Sequence[str] = ()
) -> dict[tuple[str, int], str]:
    """A `sweep` on the cluster, and with the seeds, that a command line asks for."""
    threads = (
        []
        if args.scheduler or torch.cuda.is_available()
        else ["--threads", str(run.cores() // args.workers)]
    )
    options = ["--notebooks", str(args.notebooks.resolve()), *threads, *options]
    with cluster(args.scheduler, args.workers) as client:
        return sweep(client, names, args.seeds, out.resolve(), options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print what failed; the exit code."""
    parser = argparse.ArgumentParser(
        "python -m tools.sweep", description="Lessons x seeds, on several machines."
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these notebooks, not all")
    parser.add_argument(
        "--size", choices=sorted(run.CELL_TIMEOUT), default="sample", help="which data"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default: .runs/sweep")
    add_arguments(parser)
    args = parser.parse_args(argv)
    problems = sweep_as_told(
        args, args.only or list(run.find(args.notebooks)), args.out, ["--size", args.size]
    )
    for (name, seed), problem in problems.items():
        if problem:
            print(f"\n{name}, seed {seed}:\n{problem}")
    print(f"records and executed notebooks: {args.out}/SEED")
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
