"""`python -m tools.bench pictures|epochs|tables`: measure, write results/bench-*.json, print.

- pictures: every contender decodes the same files (drawn, or those of --path), rotates, zooms,
  mirrors and changes the light of each, and hands out normalised batches; nothing is trained on
  them. Beside it, what `Learner.fit` costs over the bare loop.
- epochs: one epoch of training, with validation, of five lessons' models.
  - cifar10: lesson 7's Resnet2 on the same files, batches of 256, pictures padded by 4, cropped and
    mirrored at random, SGD with momentum; on a GPU in bfloat16. The first epoch also decodes;
    where COURSE_WORK is set, it does so in the first round only: the others find what that kept.
  - rossmann: lesson 3's network, batches of 128, on a table of random numbers of the shape of the
    real one (22 categories with its cardinalities, 18 numbers): the values do not change the speed.
  - movielens: lesson 5's dot product with biases, 50 factors, batches of 64.
  - awd-lstm: lesson 4's language model, with its dropouts, on random words; on a CPU in the sizes
    of the sample, on a GPU in those of the full data, with bfloat16.
  - stateful-lstm: lesson 6's two-layer LSTM on 64 streams of random characters, 8 at a time.
- tables: lesson 3 from CSV files to arrays.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.core import DEVICE
from course_utils.data import get_data

from tools.bench import fastai, fit, ours, tables, work
from tools.bench.measure import apart, busy_warning, compare, made
from tools.bench.work import Epoch, Pictures
from tools.report.records import RESULTS, Speed, write

__all__ = ["TASKS", "Task", "main", "parser", "report"]


@dataclass(frozen=True)
class Task:
    """What to train on which data (None: random ones), and the least ratio to fastai by device."""

    data: str | None
    contenders: Mapping[str, Callable[[Any], Epoch]]
    target: Mapping[str, float]


TASKS = {
    "cifar10": Task(
        data="cifar10",
        contenders={"course_utils": ours.cifar10, "fastai": fastai.cifar10},
        target={"cpu": 1.3, "cuda": 3.0},
    ),
    "rossmann": Task(
        data=None,
        contenders={
            "course_utils": ours.rossmann,
            "plain": ours.bare_rossmann,
            "fastai": fastai.rossmann,
        },
        target={"cpu": 1.4, "cuda": 5.0},
    ),
    "movielens": Task(
        data="ml-latest-small",
        contenders={
            "course_utils": ours.movielens,
            "plain": ours.bare_movielens,
            "fastai": fastai.movielens,
        },
        target={"cpu": 7.0, "cuda": 5.0},
    ),
    "awd-lstm": Task(
        data=None,
        contenders={"course_utils": ours.awd_lstm, "fastai": fastai.awd_lstm},
        target={"cpu": 1.0, "cuda": 1.2},
    ),
    "stateful-lstm": Task(
        data=None,
        contenders={"course_utils": ours.stateful_lstm, "fastai": fastai.stateful_lstm},
        target={"cpu": 1.3, "cuda": 1.2},
    ),
}
PICTURES = {
    "course_utils": ours.pictures,
    "plain": ours.bare_pictures,
    "fastai": fastai.pictures,
}
PICTURES_TARGET = 4.0
PICTURES_TARGET_FIRST = 2.5


def measure_pictures(args: argparse.Namespace) -> None:
    """Loading of pictures, then the cost of `fit`."""
    if "fastai" in args.only:
        fastai.need()
    contenders = {name: PICTURES[name] for name in args.only}
    with tempfile.TemporaryDirectory() as drawn:
        if args.path is None:
            work.draw_pictures(Path(drawn), args.count)
        files = work.find_pictures(args.path or Path(drawn), args.count)
        for file in files:
            file.read_bytes()  # the page cache is warm for the first contender, too
        about = made()
        epoch = compare(contenders, Pictures(files, args.bs), epochs=4, rounds=args.rounds)
    speed = Speed(
        **about,
        size="photos" if args.path else "drawn pictures",
        epoch=epoch,
        target=PICTURES_TARGET,
        target_first=PICTURES_TARGET_FIRST,
        pictures=args.count,
    )
    _finish("pictures", speed, args.out)
    cost = apart(fit.measure, 4 * args.count, args.bs, 5 * args.rounds)
    write(cost, args.out / f"bench-fit.{DEVICE.type}.json")
    print(fit.report(cost))


def measure_epochs(args: argparse.Namespace) -> None:
    """An epoch of each task."""
    fastai.need()
    for name in args.only:
        task = TASKS[name]
        path = None if task.data is None else get_data(task.data, args.size)
        about = made(path)
        epoch = compare(task.contenders, path, epochs=3, rounds=args.rounds)
        target = task.target[DEVICE.type]
        _finish(name, Speed(**about, size=args.size, epoch=epoch, target=target), args.out)


def _finish(name: str, record: Speed, out: Path) -> None:
    """Write and print a comparison."""
    write(record, out / f"bench-{name}.{record.device.type}.json")
    print(report(name, record))


def report(name: str, record: Speed) -> str:
    """A line for each contender, then the ratios beside the target; a warning where it is due."""
    lines = [f"{name}, {record.place}"]
    for who, took in record.epoch.items():
        lines.append(f"{who}: first epoch {took.first:.2f} s, later {took.later:.2f} s")
    course, peer = (record.epoch.get(who) for who in ("course_utils", "fastai"))
    if course and peer:
        first, later = peer.first / course.first, peer.later / course.later
        lines.append(f"first {first:.2f}x, later {later:.2f}x as fast as fastai")
    lines.append(f"target {record.target:g}x")
    warning = busy_warning(record.epoch)
    return "\n".join([*lines, warning] if warning else lines)


def measure_tables(args: argparse.Namespace) -> None:
    """Lesson 3 from CSV files to arrays."""
    record = apart(tables.measure, args.size)
    write(record, args.out / "bench-tables.json")
    print(tables.report(record))


def parser() -> argparse.ArgumentParser:
    """The options of `python -m tools.bench`."""
    p = argparse.ArgumentParser("python -m tools.bench", description="Compare the speed.")
    commands = p.add_subparsers(required=True)
    pictures = commands.add_parser("pictures", help="load them; and what `Learner.fit` costs")
    pictures.add_argument("--path", type=Path, metavar="DIR", help="photos, a folder a class")
    pictures.add_argument("--count", type=int, default=512, help="pictures an epoch (512)")
    pictures.add_argument("--bs", type=int, default=64, help="pictures a batch (64)")
    _add_choice(pictures, PICTURES)
    pictures.set_defaults(measure=measure_pictures)
    epochs = commands.add_parser("epochs", help="train the lessons' models")
    _add_choice(epochs, TASKS)
    epochs.set_defaults(measure=measure_epochs)
    frames = commands.add_parser("tables", help="lesson 3 from CSV files to arrays")
    frames.set_defaults(measure=measure_tables)
    for command in (epochs, frames):
        command.add_argument("--size", choices=["sample", "full"], default="sample")
    for command in (pictures, epochs, frames):
        command.add_argument("--out", type=Path, default=RESULTS, metavar="DIR")
    return p


def _add_choice(command: argparse.ArgumentParser, names: Mapping[str, object]) -> None:
    command.add_argument("--only", nargs="+", choices=names, default=list(names), metavar="NAME")
    command.add_argument("--rounds", type=int, default=3, help="the contenders in turn (3)")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; the exit code: 2 where that is not possible."""
    args = parser().parse_args(argv)
    try:
        args.measure(args)
    except ValueError as e:
        print(f"bench: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
