"""Processes that are killed, and processes that ask for one thing at once; `test_saved` runs this.

It is a process of its own, so that it can be copied: one in which threads have run cannot.
"""

import json
import os
import random
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from support import mlp
from torch import nn

from course_utils import copies, vision
from course_utils.copies import small_copies
from course_utils.learner import load_model, save_model
from course_utils.vision import ConvLearner, ImageClassifierData

Work = Callable[[], object]
POINTS = 7  # at which a process is killed
AT_ONCE = 8  # processes


# Processes


def fork(work: Work) -> int:
    """The id of a copy of this process that does `work`, and ends."""
    pid = os.fork()
    if pid:
        return pid
    try:
        copies.POOL = ThreadPoolExecutor(2)  # the threads of the old one are not copied
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def steps(work: Work) -> int:
    """How many calls and returns `work` takes."""
    n = 0

    def count(*args: object) -> None:
        nonlocal n
        n += 1

    sys.setprofile(count)
    work()
    sys.setprofile(None)
    return n


def kill_at(step: int, work: Work) -> bool:
    """`work`, in another process that is killed (-9) at its STEP-th call or return; whether it came so far."""
    n = 0

    def count(*args: object) -> None:
        nonlocal n
        n += 1
        if n == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched() -> None:
        sys.setprofile(count)
        work()

    _, status = os.waitpid(fork(watched), 0)
    return os.WIFSIGNALED(status)


def points(work: Work, seed: int) -> list[int]:
    """Steps of `work` to be killed at, of the whole way."""
    return sorted(random.Random(seed).sample(range(1, steps(work)), POINTS))


def at_once(work: Work) -> list[int]:
    """The exit codes of processes that start `work` in the same moment."""
    wait, go = os.pipe()

    def when_all_are_there() -> None:
        os.close(go)
        os.read(wait, 1)  # until the last process that could write has closed it
        work()

    pids = [fork(when_all_are_there) for _ in range(AT_ONCE)]
    os.close(go)
    return [os.waitpid(pid, 0)[1] for pid in pids]


def counted(module: object, name: str, log: Path) -> None:
    """From here on, each call of module.NAME adds a byte to a file, whatever process calls it."""
    original = getattr(module, name)

    def wrapped(*args: object) -> object:
        with log.open("ab") as f:
            f.write(b".")
        return original(*args)

    setattr(module, name, wrapped)


# What they do


def saving(folder: Path) -> dict[str, object]:
    """Killed while it saves new weights: what then lies there, and once it is saved again."""
    old, new, found = mlp(), mlp(), mlp()
    nn.init.ones_(new[0][0].weight)
    file = folder / "x.pt"

    def holds() -> str:
        load_model(found, file)
        return "new" if torch.equal(found[0][0].weight, new[0][0].weight) else "old"

    save_model(old, file)
    killed, after, again = 0, [], []
    for step in points(lambda: save_model(new, folder / "other.pt"), seed=1):
        save_model(old, file)
        killed += kill_at(step, lambda: save_model(new, file))
        after.append(holds())
        save_model(new, file)
        again.append(holds())
    return {"killed": killed, "after": after, "again": again}


def learner(path: Path) -> ConvLearner:
    """A small body and head, precomputing; 12 and 6 inputs."""
    path.mkdir(exist_ok=True)
    torch.manual_seed(0)
    x = torch.randn(12, 3, 8, 8)
    y = torch.arange(12) % 2
    data = ImageClassifierData.from_arrays(path, (x, y), (x[:6], y[:6]), bs=4)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    learn = ConvLearner.from_model_data(nn.Sequential(body, nn.Sequential(nn.Linear(16, 2), nn.LogSoftmax(1))), data)
    learn.precompute = True
    return learn


def activations(folder: Path) -> dict[str, object]:
    """Killed while it keeps activations: whether the next call gives the right ones, and no more."""
    expected = learner(folder / "expected").batches.trn_dl.dataset.arrays[0]
    killed, right = 0, []
    for step in points(lambda: learner(folder / "count").batches, seed=2):
        path = folder / f"killed-{step}"
        killed += kill_at(step, lambda path=path: learner(path).batches)
        again = learner(path).batches.trn_dl.dataset.arrays[0]
        files = sorted(file.suffix for file in (path / "tmp").iterdir())
        right.append(torch.equal(again, expected) and files == [".lock", ".lock", ".pt", ".pt"])
    log = folder / "log"
    counted(vision, "predict_with_targs", log)
    codes = at_once(lambda: learner(folder / "shared").batches)
    return {"killed": killed, "right": right, "codes": codes, "made": log.stat().st_size}


def small(folder: Path) -> dict[str, object]:
    """The same of small copies."""
    names = [f"{i}.png" for i in range(6)]
    for name in names:
        Image.new("RGB", (30, 20), "red").save(folder / name)

    def copied(place: str) -> Path:
        return small_copies(folder, names, folder / place, 10)

    def is_whole(place: str) -> bool:
        root = copied(place)
        sizes = {Image.open(root / name).size for name in names}
        return sizes == {(15, 10)} and list(root.rglob("*.part")) == []

    killed, right = 0, []
    for step in points(lambda: copied("count"), seed=3):
        killed += kill_at(step, lambda step=step: copied(f"killed-{step}"))
        right.append(is_whole(f"killed-{step}"))
    log = folder / "log"
    counted(copies, "_save", log)
    codes = at_once(lambda: copied("shared"))
    return {"killed": killed, "right": right, "codes": codes, "made": log.stat().st_size}


if __name__ == "__main__":
    torch.set_num_threads(1)
    report = {}
    for drill in (saving, activations, small):
        with tempfile.TemporaryDirectory() as place:
            report[drill.__name__] = drill(Path(place))
    print(json.dumps(report))
