"""Processes that ask for a data set: several at once, killed, on a disk that fills. Run by tests/test_together.py.

The argument is JSON; what is printed is JSON. It forks a process that has imported the package already, so that a case
takes milliseconds, and it counts calls of the operating system, so that a case does not depend on time.
"""

import errno
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path

from course_utils import files as where
from course_utils.data import DataError, get_data, registry, samples

# What changes the disk or the network's stream; the second kind needs room.
STEPS = {"open", "write", "mkdir", "rename", "replace", "unlink", "remove", "rmdir", "link", "readinto", "recv_into"}
STEPS |= {"scandir", "sendfile", "flock", "close", "__exit__"}
ROOM = {"write", "mkdir", "sendfile", "link"}


def build(target: Path) -> None:
    """The sample "toy": its second file has another content in each version; each build is counted."""
    with (where.ROOT / "builds").open("a") as builds:
        builds.write("x")
    (target / "a.txt").write_text("a" * 20_000)
    (target / "b").mkdir()
    (target / "b" / "c.txt").write_text(str(toy.VERSION) * 20_000)


toy = types.ModuleType("toy")
toy.build = build
sys.modules["toy"] = toy
samples.BUILDERS["toy"] = "toy"


def ask(job: dict) -> Path:
    if job["set"] == "toy":
        return get_data("toy")
    return get_data(job["set"], "full")


def snapshot(root: Path) -> dict[str, str]:
    """Every file of the data, but the locks, and its hash."""
    found = {}
    for path in sorted((root / "data").rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            content = path.read_bytes()
            found[path.relative_to(root / "data").as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def forked(work: Callable[[], object]) -> tuple[int, str]:
    """The exit status of a process that does `work`, and what that returned, or the error."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = str(work())
        except (DataError, OSError) as error:
            told = f"{type(error).__name__}: {error}"
        os.write(write, told.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode()
    return os.waitpid(child, 0)[1], told


def counting(names: set[str], work: Callable[[], object], at: int | None, fault: Callable[[], None]) -> int:
    """Do `work`, with a fault before the step `at` of it; how many steps it has."""
    steps = 0

    def look(frame: types.FrameType, event: str, function: object) -> None:
        nonlocal steps
        if event == "c_call" and getattr(function, "__name__", "") in names:
            steps += 1
            if steps == at:
                fault()

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    return steps


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


FAULTS = {"kill": (STEPS, die), "full": (ROOM, fill)}


def begin(job: dict, root: Path) -> None:
    """A home for data as the test has prepared it."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(job["template"], root)
    where.ROOT = root


def drill(job: dict, fault: str, n: int) -> list[dict]:
    """`n` cases of a fault: what is there right after it, and after the next call."""
    names, strike = FAULTS[fault]
    root = Path(job["root"])
    begin(job, root)
    total = int(forked(lambda: counting(names, lambda: ask(job), None, strike))[1])
    points = sorted(random.Random(f"{job['name']} {fault}").sample(range(1, total + 1), min(n, total)))
    found = []
    for at in points:
        begin(job, root)
        status, told = forked(lambda at=at: counting(names, lambda: ask(job), at, strike))
        left = snapshot(root)
        last, answer = forked(lambda: ask(job))
        case = {"at": at, "of": total, "status": status, "told": told, "left": left}
        found.append(case | {"last": last, "answer": answer, "end": snapshot(root)})
    return found


def many(job: dict, n: int) -> list[str]:
    """What `n` processes are told that start as one, each of the next of `sets`."""
    begin(job, Path(job["root"]))
    sets = job.get("sets", [job["set"]])
    read, write = os.pipe()
    children = []
    for number in range(n):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)  # nothing comes: until the other end is closed
            try:
                told = str(ask(job | {"set": sets[number % len(sets)]}))
            except (DataError, OSError) as error:
                told = f"{type(error).__name__}: {error}"
            Path(job["root"], f"told-{number}").write_text(told)
            os._exit(0)
        children.append(child)
    os.close(write)
    for child in children:
        os.waitpid(child, 0)
    return [Path(job["root"], f"told-{number}").read_text() for number in range(n)]


def main(job: dict) -> dict:
    logging.getLogger("course_utils").setLevel(logging.CRITICAL)
    os.environ["TQDM_DISABLE"] = "1"
    registry.REGISTRY = Path(job["registry"])
    toy.VERSION = job.get("version", 1)
    if "many" in job:
        return {"many": many(job, job["many"]), "end": snapshot(Path(job["root"]))}
    return {fault: drill(job, fault, n) for fault, n in job["faults"].items()}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
