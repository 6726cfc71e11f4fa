"""Many notebooks, some at a time, each in a fresh process; nothing is left behind when it ends."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from tools.run.execute import Outcome, Task, execute

__all__ = ["alone", "run_all"]

PATIENCE = 5  # seconds for a worker to end when its kernel is gone


def run_all(tasks: Sequence[Task], jobs: int) -> list[Outcome]:
    """Execute `tasks`, `jobs` at a time, each in a fresh process; outcomes in the order of tasks.

    After Ctrl-C every kernel is ended before KeyboardInterrupt goes on.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _end_with_parent, max_tasks_per_child=1) as pool:
        futures = [pool.submit(execute, task) for task in tasks]
        try:
            for future in as_completed(futures):
                if tasks[0].bar is None:
                    _announce(future.result())
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            _end_workers()
            raise
    return [future.result() for future in futures]


def _announce(outcome: Outcome) -> None:
    end = "failed" if outcome.error else "finished"
    print(f"{outcome.name}: {end} after {outcome.seconds:.0f} s", flush=True)


def _end_with_parent() -> None:
    """In a worker: a thread that ends it and its kernel when the runner is gone, killed say."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("not a worker: it has no parent")

    def watch() -> None:
        wait([parent.sentinel])
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_workers() -> None:
    """End the kernels; a worker whose kernel is gone tidies up and ends; kill what still runs."""
    workers = multiprocessing.active_children()
    for kernel in _kernels([worker.pid for worker in workers]):
        with suppress(psutil.NoSuchProcess):
            kernel.terminate()
    for worker in workers:
        worker.join(PATIENCE)
    left = multiprocessing.active_children()  # no kernel yet, or the next task of the queue
    for kernel in _kernels([worker.pid for worker in left]):
        with suppress(psutil.NoSuchProcess):
            kernel.kill()
    for worker in left:
        worker.kill()


def _kernels(workers: Sequence[int | None]) -> list[psutil.Process]:
    """What the workers with these process numbers have started and still runs."""
    found = []
    for pid in workers:
        with suppress(psutil.NoSuchProcess):
            found += psutil.Process(pid).children(recursive=True)
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other run writes to `folder`, then clear away what a killed one left there."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting = f"run: another run writes to {folder}; waiting for its end"
        print(waiting, file=sys.stderr, flush=True)
        lock.acquire()
    try:
        for stale in [*folder.rglob(".*.ipynb"), *folder.rglob(".*.part")]:
            stale.unlink()
        yield
    finally:
        lock.release()
