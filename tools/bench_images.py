"""Speed of the picture loaders and of `Learner.fit` against fastai 2.8 and plain PyTorch.

`python -m tools.bench_images` draws pictures into a temporary folder, or takes those of --path.
Every contender decodes the same files in a fresh process, rotates, zooms, mirrors and changes the
light of each picture, and hands out normalised batches; nothing is trained on them. Rounds are
interleaved, so that a busy machine slows all contenders alike: the ratios count, not the rates.

fastai goes into a folder of its own, .bench, never into .venv: INSTALL is the command.
"""

import argparse
import io
import itertools
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from course_utils import provenance as origin
from course_utils.core import DEVICE, set_seed
from course_utils.files import atomic
from course_utils.learner import Learner
from course_utils.loaders import BatchLoader, FilesDataset
from course_utils.metrics import accuracy
from course_utils.transforms import imagenet_stats, tfms_from_stats, transforms_side_on
from course_utils.vision import ImageClassifierData
from tools.run import cores

__all__ = ["CONTENDERS", "TARGETS", "draw_pictures", "fit_seconds", "main", "rates"]

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / ".bench"
INSTALL = (
    '.venv/bin/python -m pip install --target .bench --no-deps "fastai==2.8.*" "fastcore>=2.2.22" '
    'fasttransform "fastprogress==1.0.*" "fastdownload<2" "plum-dispatch<2.10" beartype rich '
    "markdown-it-py mdurl"
)
SZ, MAX_ZOOM = 224, 1.1
SIDE = round(SZ * MAX_ZOOM)  # pixels of the shortest side before augmentation
EPOCHS = 4  # a round: the first and three later ones
TARGETS = {"first": 2.5, "later": 4.0, "fit_overhead_percent": 3.0}
"""At least so many times fastai's pictures a second; at most so much slower than a plain loop."""

Files = Sequence[Path]


def draw_picture(rng: np.random.Generator) -> Image.Image:
    """Soft colours, edges, sensor noise: 2.1 bits a pixel as JPEG, as photos of Dogs vs. Cats; shortest side 256."""
    size = (256, int(rng.integers(256, 385)))[:: rng.choice([-1, 1])]
    soft = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        size, Image.BICUBIC
    )
    blocks = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize(
        size, Image.NEAREST
    )
    pixels = np.asarray(Image.blend(soft, blocks, 0.3), np.float32)
    noisy = pixels + rng.normal(0, 5, pixels.shape[:2]).astype(np.float32)[..., None]
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def draw_pictures(folder: Path, count: int) -> None:
    """Write `count` JPEG files into two class folders, the same at every call."""
    rng = np.random.default_rng(0)
    for i in range(count):
        file = folder / ("even", "odd")[i % 2] / f"{i:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(rng).save(file, quality=87)


def find_pictures(folder: Path, count: int) -> list[Path]:
    """The first `count` JPEG files below `folder`, sorted. ValueError if there are too few."""
    files = sorted(folder.rglob("*.jpg"))
    if len(files) < count:
        raise ValueError(f"{folder} holds {len(files)} .jpg files: ask for that many with --count")
    return files[:count]


def course_loader(files: Files, bs: int) -> Iterable:
    """Ours: decoded cache, augmentation of whole batches."""
    tfm, _ = tfms_from_stats(imagenet_stats, SZ, transforms_side_on, max_zoom=MAX_ZOOM)
    names = [str(file.resolve()) for file in files]
    return BatchLoader(FilesDataset(names, _labels(files), Path(), tfm), bs, shuffle=True)


def fastai_loader(files: Files, bs: int) -> Iterable:
    """fastai 2.8: worker processes decode and resize, the main process augments batches."""
    sys.path.append(str(BENCH))
    warnings.simplefilter("ignore")
    from fastai.vision import all as fv

    augment = fv.aug_transforms(
        size=SZ, max_rotate=10, max_zoom=MAX_ZOOM, max_lighting=0.1, max_warp=0
    )
    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_y=fv.parent_label,
        splitter=lambda items: (range(len(items)), [0]),
        item_tfms=fv.Resize(SIDE),
        batch_tfms=[*augment, fv.Normalize.from_stats(*imagenet_stats)],
    )
    return block.dataloaders(list(files), bs=bs, device=DEVICE).train


class PictureFiles(Dataset):
    """The data set of the usual tutorial: decode and augment one picture at a time."""

    def __init__(self, files: Files) -> None:
        self.files, self.labels = files, _labels(files)
        self.augment = v2.Compose([
            v2.ToImage(),
            v2.Resize(SIDE),
            v2.RandomRotation(10, v2.InterpolationMode.BILINEAR),
            v2.RandomCrop(SZ),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.05, 0.05),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(*imagenet_stats),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.files[i]) as im:
            return self.augment(im.convert("RGB")), int(self.labels[i])


def torchvision_loader(files: Files, bs: int) -> Iterable:
    """Plain torchvision: two worker processes, transforms of one picture at a time."""
    return DataLoader(PictureFiles(files), bs, shuffle=True, num_workers=2)


def _labels(files: Files) -> np.ndarray:
    """Class numbers: the places of the parents' names in their sorted list."""
    return np.unique([file.parent.name for file in files], return_inverse=True)[1]


CONTENDERS: dict[str, Callable[[Files, int], Iterable]] = {
    "course_utils": course_loader,
    "torchvision": torchvision_loader,
    "fastai": fastai_loader,
}


def rates(name: str, files: Files, bs: int) -> list[float]:
    """Pictures a second in each of EPOCHS epochs of a contender, the first with an empty cache.

    One batch of another loader goes before: libraries load and threads start outside the clock.
    """
    for _ in CONTENDERS[name](files[:bs], bs):
        pass
    loader = CONTENDERS[name](files, bs)
    return [_rate(loader) for _ in range(EPOCHS)]


def _rate(loader: Iterable) -> float:
    start = time.perf_counter()
    n = sum(len(batch[0].to(DEVICE)) for batch in loader)
    _wait()
    return round(n / (time.perf_counter() - start), 1)


def _wait() -> None:
    """Until the device has done what it was told to do."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def small_net() -> nn.Sequential:
    """Three convolutions, so small that the cost of the loop itself shows."""
    widths = (3, 16, 32, 64)
    convs = [
        nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in itertools.pairwise(widths)
    ]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2), nn.LogSoftmax(1))
    return nn.Sequential(*convs, head)


def tensor_data(count: int, bs: int) -> ImageClassifierData:
    """`count` pictures of noise, 96 x 96, in memory, and a quarter as many for validation."""
    x, y = torch.randn(count, 3, 96, 96), torch.arange(count) % 2
    x = x.contiguous(memory_format=torch.channels_last)
    n = count // 4
    return ImageClassifierData.from_arrays(".", (x, y), (x[:n], y[:n]), bs=bs)


def plain_optimizer(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimizer that a Learner takes when it is given none."""
    return torch.optim.SGD(model.parameters(), lr, momentum=0.9, fused=True)


def plain_epoch(model: nn.Module, opt: torch.optim.Optimizer, data: ImageClassifierData) -> tuple:
    """One epoch of the shortest loop that trains, validates and reports; (losses, accuracy)."""
    model.train()
    x, y = data.trn_ds.arrays
    losses = []
    for idx in torch.randperm(len(x)).split(data.bs):
        opt.zero_grad()
        loss = F.nll_loss(model(x[idx].to(DEVICE)), y[idx].to(DEVICE))
        loss.backward()
        opt.step()
        losses.append(loss.detach())
    return (float(torch.stack(losses).mean()), *plain_validation(model, data))


@torch.inference_mode()
def plain_validation(model: nn.Module, data: ImageClassifierData) -> tuple[float, float]:
    """(mean loss, accuracy) of the validation set."""
    model.eval()
    pairs = zip(*(a.split(data.bs) for a in data.val_ds.arrays), strict=True)
    outs, ys = zip(*((model(x.to(DEVICE)), y.to(DEVICE)) for x, y in pairs), strict=True)
    out, y = torch.cat(outs), torch.cat(ys)
    return float(F.nll_loss(out, y)), float(accuracy(out, y))


def fit_seconds(count: int, bs: int, repeats: int) -> dict[str, list[float]]:
    """Seconds an epoch of `Learner.fit` and of the plain loop, in turn, on the same tensors."""
    set_seed(0)
    data = tensor_data(count, bs)
    learn = Learner(data, small_net(), crit=F.nll_loss, metrics=[accuracy])
    model = small_net().to(DEVICE, memory_format=torch.channels_last)
    opt = plain_optimizer(model, 0.01)
    loops = {"fit": lambda: learn.fit(0.01, 1), "plain": lambda: plain_epoch(model, opt, data)}
    seconds = {name: [] for name in loops}
    for _ in range(repeats + 1):
        for name, loop in loops.items():
            seconds[name].append(timed(loop))
    return {name: [round(s, 4) for s in values[1:]] for name, values in seconds.items()}  # warm


def timed(loop: Callable) -> float:
    """Seconds that a call takes, silent, until the device has done its part."""
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        loop()
    _wait()
    return time.perf_counter() - start


def apart(function: Callable, *args: Any) -> Any:
    """`function(*args)` in a fresh process, whose own workers start as they do here.

    Without the initializer they would be spawned, not forked, and import torch anew each epoch.
    """
    spawn, method = multiprocessing.get_context("spawn"), multiprocessing.get_start_method()
    with ProcessPoolExecutor(1, spawn, _set_start_method, (method,)) as pool:
        return pool.submit(function, *args).result()


def _set_start_method(method: str) -> None:
    multiprocessing.set_start_method(method, force=True)


def compare_loaders(names: Sequence[str], files: Files, bs: int, n_rounds: int) -> dict[str, Any]:
    """For each contender {"first", "later", "rounds", "busy_percent"}.

    Median pictures a second; the rates of each round, one an epoch; how busy the processor was
    with other things in the second before each round.
    """
    rounds: dict[str, list[list[float]]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    for file in files:
        file.read_bytes()  # the page cache is warm for the first contender, too
    for _ in range(n_rounds):
        for name in names:
            busy[name].append(psutil.cpu_percent(1))
            rounds[name].append(apart(rates, name, files, bs))
    return {name: _medians(rounds[name]) | {"busy_percent": busy[name]} for name in names}


def _medians(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    first = statistics.median(epochs[0] for epochs in rounds)
    later = statistics.median(rate for epochs in rounds for rate in epochs[1:])
    return {"first": round(first, 1), "later": round(later, 1), "rounds": rounds}


def add_ratios(loaders: dict[str, dict[str, Any]]) -> None:
    """Give each contender {"ratio": {"first", "later"}} to fastai, where fastai ran."""
    if peer := loaders.get("fastai"):
        for row in loaders.values():
            row["ratio"] = {
                epoch: round(row[epoch] / peer[epoch], 2) for epoch in ("first", "later")
            }


def compare_fit(count: int, bs: int, repeats: int) -> dict[str, Any]:
    """Median seconds an epoch of `Learner.fit` and of the plain loop; what `fit` costs on top."""
    seconds = apart(fit_seconds, count, bs, repeats)
    fit, plain = (statistics.median(seconds[name]) for name in ("fit", "plain"))
    medians = {"fit": round(fit, 4), "plain": round(plain, 4)}
    return medians | {"overhead_percent": round(100 * (fit / plain - 1), 2), "seconds": seconds}


def provenance() -> dict[str, Any]:
    """Device, versions (those of Pillow and fastai as well), commit, threads, cores, date."""
    found = origin.provenance(None)
    peers = {d.name: d.version for d in distributions(path=[str(BENCH)]) if d.name == "fastai"}
    found["versions"] |= {"pillow": version("pillow")} | peers
    return found | {"cores": cores()}


def report(record: dict[str, Any]) -> str:
    """The table of the loaders, the cost of `fit`, and the targets."""
    rows = {name: _row(row) for name, row in record["loaders"].items()}
    table = pd.DataFrame.from_dict(rows, orient="index").to_string(na_rep="-")
    fit = record["fit"]
    return (
        f"pictures a second, {SZ} px, batches of {record['bs']}, {record['pictures']}\n{table}\n"
        f"Learner.fit {fit['fit']:.3f} s an epoch, plain loop {fit['plain']:.3f} s: "
        f"{fit['overhead_percent']:+.1f} %\n"
        f"targets: {TARGETS['first']} and {TARGETS['later']} times fastai, "
        f"{TARGETS['fit_overhead_percent']} % at most"
        f"{_warning(record['loaders'])}"
    )


def _warning(loaders: dict[str, dict[str, Any]]) -> str:
    busy = max(percent for row in loaders.values() for percent in row["busy_percent"])
    return (
        f"\nother processes kept {busy:.0f} % of the machine busy: run it again"
        if busy > 10
        else ""
    )


def _row(row: dict[str, Any]) -> dict[str, float]:
    ratios = {f"{epoch} / fastai": ratio for epoch, ratio in row.get("ratio", {}).items()}
    return {"first epoch": row["first"], "later epochs": row["later"]} | ratios


def parser() -> argparse.ArgumentParser:
    """The options of `python -m tools.bench_images`."""
    p = argparse.ArgumentParser("python -m tools.bench_images", description="Compare the speed.")
    p.add_argument(
        "--path", type=Path, metavar="DIR", help="photos, one folder a class (else: drawn)"
    )
    p.add_argument("--count", type=int, default=512, help="pictures an epoch (512)")
    p.add_argument("--bs", type=int, default=64, help="pictures a batch (64)")
    p.add_argument("--rounds", type=int, default=3, help="rounds, the contenders in turn (3)")
    p.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME"
    )
    p.add_argument(
        "--out", type=Path, default=ROOT / "results" / "bench-images.json", metavar="FILE"
    )
    return p


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole record: settings, loaders, fit, provenance."""
    files, found = (
        find_pictures(folder, args.count),
        provenance(),
    )  # first: it says when this started
    loaders = compare_loaders(args.only, files, args.bs, args.rounds)
    add_ratios(loaders)
    fit = compare_fit(4 * args.count, args.bs, 5 * args.rounds)
    pictures = f"{args.count} {'photos' if args.path else 'drawn pictures'}"
    settings = {"pictures": pictures, "sz": SZ, "bs": args.bs}
    return settings | {"loaders": loaders, "fit": fit, "targets": TARGETS} | found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the record, print the table; the exit code."""
    args = parser().parse_args(argv)
    try:
        if "fastai" in args.only and not (BENCH / "fastai").is_dir():
            raise ValueError(f"fastai is not in {BENCH.name}: {INSTALL}")
        with tempfile.TemporaryDirectory() as drawn:
            if not args.path:
                draw_pictures(Path(drawn), args.count)
            record = measure(args, args.path or Path(drawn))
    except ValueError as e:
        print(f"bench_images: {e}", file=sys.stderr)
        return 2
    with atomic(args.out) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    print(report(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
