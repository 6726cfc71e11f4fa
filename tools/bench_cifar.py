"""One epoch of lesson 7's Resnet2, with validation, by `Learner.fit` and by fastai 2.8.

`python -m tools.bench_cifar` takes the sample, --size full CIFAR-10. Both train the network of the notebook on the
same files, in batches of 256, with pictures padded by 4, cropped and mirrored at random, by SGD with momentum; on a
GPU both in bfloat16. Each contender runs in a fresh process; rounds are interleaved. The first epoch also decodes.
"""

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.core import DEVICE, atomic, set_seed
from course_utils.data import fingerprint, get_data
from course_utils.learner import SGD_Momentum
from course_utils.metrics import accuracy
from course_utils.transforms import RandomFlip, tfms_from_stats
from course_utils.vision import ConvLearner, ImageClassifierData
from tools.bench_images import BENCH, INSTALL, ROOT, _seconds, apart, provenance
from tools.cells import definitions, execute

__all__ = ["CONTENDERS", "TARGETS", "compare", "main"]

BS, EPOCHS, RATE = 256, 3, 0.01
STATS = ([0.4914, 0.48216, 0.44653], [0.24703, 0.24349, 0.26159])
TARGETS = {"cpu": 1.3, "cuda": 3.0}
"""At least so many times as fast as fastai in a later epoch, by kind of device."""

Epoch = Callable[[], Any]


def network() -> nn.Module:
    """The last network of lesson 7, from its notebook."""
    lesson = execute(definitions(ROOT / "nbs" / "lesson7-cifar10.ipynb"))
    return lesson.Resnet2([16, 32, 64, 128, 256], 10, 0.2)


def course_epoch(path: Path) -> Epoch:
    """Ours: pictures in one tensor on the device after the first epoch, batches augmented there."""
    tfms = tfms_from_stats(STATS, 32, [RandomFlip()], pad=4)
    data = ImageClassifierData.from_paths(path, bs=BS, tfms=tfms, val_name="test")
    learn = ConvLearner.from_model_data(network(), data, opt_fn=SGD_Momentum(0.9))
    return lambda: learn.fit(RATE, 1)


def fastai_epoch(path: Path) -> Epoch:
    """fastai 2.8: worker processes decode, pad, crop and mirror each picture."""
    sys.path.append(str(BENCH))
    warnings.simplefilter("ignore")
    from fastai.vision import all as fv

    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_items=fv.get_image_files,
        get_y=fv.parent_label,
        splitter=fv.GrandparentSplitter("train", "test"),
        item_tfms=[fv.CropPad(40, pad_mode=fv.PadMode.Reflection), fv.RandomCrop(32), fv.FlipItem()],
        batch_tfms=fv.Normalize.from_stats(*STATS),
    )
    dls = block.dataloaders(path, bs=BS, device=DEVICE)
    model = network().to(memory_format=torch.channels_last)
    learn = fv.Learner(dls, model, F.nll_loss, opt_func=fv.partial(fv.SGD, mom=0.9), metrics=accuracy)
    learn.remove_cb(fv.ProgressCallback)
    if DEVICE.type == "cuda":
        learn.to_bf16()
    return lambda: learn.fit(1, RATE)


CONTENDERS: dict[str, Callable[[Path], Epoch]] = {"course_utils": course_epoch, "fastai": fastai_epoch}


def seconds(name: str, path: Path) -> list[float]:
    """Seconds of each of EPOCHS epochs of a contender."""
    set_seed(0)
    epoch = CONTENDERS[name](path)
    return [round(_seconds(epoch), 3) for _ in range(EPOCHS)]


def compare(names: Sequence[str], path: Path, n_rounds: int) -> dict[str, Any]:
    """For each contender {"first", "later", "rounds"}: median seconds of a first and of a later epoch."""
    rounds: dict[str, list[list[float]]] = {name: [] for name in names}
    for _ in range(n_rounds):
        for name in names:
            rounds[name].append(apart(seconds, name, path))
    return {name: _medians(rows) | {"rounds": rows} for name, rows in rounds.items()}


def _medians(rounds: Sequence[Sequence[float]]) -> dict[str, float]:
    later = statistics.median(s for epochs in rounds for s in epochs[1:])
    return {"first": statistics.median(epochs[0] for epochs in rounds), "later": later}


def report(record: dict[str, Any]) -> str:
    """A line for each contender, the ratios, the target."""
    rows = record["epoch"]
    lines = [f"{name}: first epoch {row['first']:.2f} s, later {row['later']:.2f} s" for name, row in rows.items()]
    if len(rows) == 2:
        ratios = [f"{e} {rows['fastai'][e] / rows['course_utils'][e]:.2f}x" for e in ("first", "later")]
        lines.append(f"{' '.join(ratios)} as fast as fastai; target {TARGETS[DEVICE.type]}x")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write results/bench-cifar10.DEVICE.json, print; the exit code."""
    p = argparse.ArgumentParser("python -m tools.bench_cifar", description="Compare the speed of an epoch.")
    p.add_argument("--size", choices=["sample", "full"], default="sample")
    p.add_argument("--rounds", type=int, default=3, help="rounds, the contenders in turn (3)")
    p.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    p.add_argument("--out", type=Path, default=ROOT / "results", metavar="DIR")
    args = p.parse_args(argv)
    if "fastai" in args.only and not (BENCH / "fastai").is_dir():
        print(f"bench_cifar: fastai is not in {BENCH.name}: {INSTALL}", file=sys.stderr)
        return 2
    found, path = provenance(), get_data("cifar10", args.size)
    record = {"size": args.size, "bs": BS, "data": fingerprint(path), "epoch": compare(args.only, path, args.rounds)}
    with atomic(args.out / f"bench-cifar10.{DEVICE.type}.json") as part:
        part.write_text(json.dumps(found | record | {"target": TARGETS[DEVICE.type]}, indent=1) + "\n", "utf-8")
    print(report(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
