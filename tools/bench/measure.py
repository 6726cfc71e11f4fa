"""The stop-watch: epochs of each contender in fresh processes, in turn."""

import io
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import psutil
import torch
from course_utils.core import set_seed
from course_utils.provenance import provenance
from joblib import cpu_count

from tools.bench.fastai import FOLDER
from tools.bench.work import Epoch
from tools.report.records import Contender, Device

__all__ = ["apart", "busy_warning", "compare", "contender", "made", "seconds", "timed"]

BUSY = 10  # percent of the machine, from which on other processes disturb

Result = TypeVar("Result")
Source = TypeVar("Source")


def timed(epoch: Epoch) -> float:
    """Seconds that a call takes, silent, until the device has done its part."""
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        epoch()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - start


def seconds(make: Callable[[Source], Epoch], source: Source, epochs: int) -> list[float]:
    """Seconds of each of the first epochs of a contender."""
    set_seed(0)
    with _own_work():
        epoch = make(source)
        return [round(timed(epoch), 4) for _ in range(epochs)]


@contextmanager
def _own_work() -> Iterator[None]:
    """A COURSE_WORK in which nothing is kept; one that is set stays: later rounds use it again."""
    if os.environ.get("COURSE_WORK"):
        yield
        return
    with TemporaryDirectory() as empty:
        os.environ["COURSE_WORK"] = empty
        try:
            yield
        finally:
            del os.environ["COURSE_WORK"]


def apart(function: Callable[..., Result], *args: Any) -> Result:
    """`function(*args)` in a fresh process, whose own workers start as they do here.

    Without the initializer they would be spawned, not forked, and import torch anew each epoch.
    """
    spawn = multiprocessing.get_context("spawn")
    method = multiprocessing.get_start_method()
    with ProcessPoolExecutor(1, spawn, _set_start_method, (method,)) as pool:
        return pool.submit(function, *args).result()


def _set_start_method(method: str) -> None:
    multiprocessing.set_start_method(method, force=True)


def compare(
    contenders: Mapping[str, Callable[[Source], Epoch]],
    source: Source,
    *,
    epochs: int,
    rounds: int,
) -> dict[str, Contender]:
    """What each contender takes for its epochs, the contenders in turn in each round."""
    measured: dict[str, list[list[float]]] = {name: [] for name in contenders}
    busy: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, make in contenders.items():
            busy[name].append(psutil.cpu_percent(1))  # in the second before it starts
            measured[name].append(apart(seconds, make, source, epochs))
    return {name: contender(measured[name], busy[name]) for name in contenders}


def contender(rounds: list[list[float]], busy: Sequence[float] = ()) -> Contender:
    """The medians of the first and of the later epochs of all rounds."""
    first = statistics.median(epochs[0] for epochs in rounds)
    later = statistics.median(s for epochs in rounds for s in epochs[1:])
    return Contender(round(first, 4), round(later, 4), rounds, list(busy))


def busy_warning(contenders: Mapping[str, Contender]) -> str:
    """A line if something else kept the machine busy, else ""."""
    busy = max((percent for c in contenders.values() for percent in c.busy_percent), default=0)
    if busy <= BUSY:
        return ""
    return f"other processes kept {busy:.0f} % of the machine busy: run it again"


def made(data: Path | None = None) -> dict[str, Any]:
    """The fields of `Made`, as of a lesson, with the versions of Pillow and fastai; and cores."""
    found = provenance(data) | {"cores": cpu_count()}
    found["device"] = Device(**found["device"])
    peers = {d.name: d.version for d in distributions(path=[str(FOLDER)]) if d.name == "fastai"}
    found["versions"] |= {"pillow": version("pillow")} | peers
    return found
