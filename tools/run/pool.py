"""Many notebooks, some at a time, each in a fresh process; nothing is left behind when it ends."""

import multiprocessing
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from tools.run import LESSONS, SOLUTIONS
from tools.run.execute import Outcome, Task, execute, failed

__all__ = ["alone", "run_all"]

PATIENCE = 5  # seconds for a worker to end when its kernel is gone
KILLED = -9  # exit code: by SIGKILL, which Windows does not have
LEFTOVER = re.compile(r"\..+\.(ipynb|json)\.[0-9a-f]{8}\.part")  # of `files.atomic`


@dataclass(frozen=True)
class Worker:
    """A process that executes one task, and where its outcome arrives."""

    task: Task
    process: BaseProcess
    answers: Connection
    started: float = field(default_factory=time.perf_counter)


def run_all(tasks: Sequence[Task], jobs: int) -> list[Outcome]:
    """Execute `tasks`, `jobs` at a time, each in a fresh process; outcomes in the order of tasks.

    A process that is killed costs its own notebook, not the others. After Ctrl-C every kernel is
    ended before KeyboardInterrupt goes on.
    """
    waiting = list(tasks)
    running: list[Worker] = []
    outcomes: dict[int, Outcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop(0)))
            for worker in _done(running):
                running.remove(worker)
                outcomes[id(worker.task)] = _outcome(worker)
    except BaseException:
        _end_workers()
        raise
    return [outcomes[id(task)] for task in tasks]


def _start(task: Task) -> Worker:
    spawn = multiprocessing.get_context("spawn")
    answers, to_answer = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_work, args=(task, to_answer))
    process.start()
    to_answer.close()  # the worker has its own: when that is gone, so is the worker
    return Worker(task, process, answers)


def _work(task: Task, answers: Connection) -> None:
    """In a worker: execute the task and send its outcome."""
    _end_with_parent()
    start = time.perf_counter()
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches the runner, too: it tells of it
        try:
            outcome = execute(task)
        except Exception as e:
            reason = traceback.format_exception_only(e)[-1].strip()
            outcome = failed(task, time.perf_counter() - start, reason)
        answers.send(outcome)


def _done(running: Sequence[Worker]) -> list[Worker]:
    """Wait until some of the workers have answered or ended; these."""
    ready = wait([worker.answers for worker in running])
    return [worker for worker in running if worker.answers in ready]


def _outcome(worker: Worker) -> Outcome:
    """What the worker has sent; or that it was killed before it could."""
    try:
        outcome = worker.answers.recv()
    except (EOFError, OSError):  # nothing came, or half of it
        worker.process.join()
        _end_orphans(worker)
        seconds = time.perf_counter() - worker.started
        outcome = failed(worker.task, seconds, _why_it_ended(worker.process.exitcode))
    worker.process.join()
    worker.answers.close()
    if worker.task.bar is None:
        _announce(outcome)
    return outcome


def _why_it_ended(code: int | None) -> str:
    if code == KILLED:
        return "its process was killed, most likely because the memory ran out"
    return f"its process ended without a word (exit code {code})"


def _end_orphans(worker: Worker) -> None:
    """End the kernel of a worker that was killed, and what that has started: they hold memory."""
    parent = str(worker.process.pid)
    results = str(worker.task.out / "results")
    own = {"JPY_PARENT_PID": parent, "COURSE_RESULTS": results}  # both tell of this run alone
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # of another user, or gone
            if own.items() <= process.environ().items():
                process.kill()


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
        _clear(folder)
        yield
    finally:
        lock.release()


def _clear(folder: Path) -> None:
    """Delete half-written copies and records where a run writes them, and nothing else."""
    below = {Path(pattern).parent for pattern in LESSONS + SOLUTIONS}
    for place in [folder, folder / "results"]:
        for file in [file for sub in below for file in (place / sub).glob(".*.part")]:
            if LEFTOVER.fullmatch(file.name) and file.is_file() and not file.is_symlink():
                file.unlink()
