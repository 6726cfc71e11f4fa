"""What `Learner.fit` costs beside the shortest loop that trains, validates and reports."""

from functools import partial

import torch
import torch.nn.functional as F
from course_utils.core import DEVICE, set_seed
from course_utils.learner import Learner
from course_utils.metrics import accuracy
from course_utils.vision import ImageClassifierData
from torch import Tensor, nn, optim

from tools.bench.measure import contender, made, timed
from tools.bench.work import Epoch
from tools.report.records import Fit

__all__ = ["bare_fit", "fit_and_bare", "measure", "report"]

Labelled = tuple[Tensor, Tensor]  # pictures and their classes

AT_MOST = 1.03  # times as long as the bare loop


def measure(count: int, bs: int, repeats: int) -> Fit:
    """The record: both loops in turn, in one process, since the difference is small."""
    set_seed(0)
    about = made()
    loops = dict(zip(("course_utils", "plain"), fit_and_bare(count, bs), strict=True))
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats + 1):  # the first one warms up
        for name, loop in loops.items():
            seconds[name].append(round(timed(loop), 4))
    epoch = {name: contender([took]) for name, took in seconds.items()}
    return Fit(**about, epoch=epoch, at_most=AT_MOST)


def report(record: Fit) -> str:
    """A line for people."""
    ours, bare = record.epoch["course_utils"].later, record.epoch["plain"].later
    return (
        f"Learner.fit {ours:.3f} s an epoch, bare loop {bare:.3f} s: {ours / bare:.3f} of its time "
        f"(at most {record.at_most:g})"
    )


def fit_and_bare(count: int, bs: int) -> tuple[Epoch, Epoch]:
    """An epoch of `Learner.fit` and of the bare loop on `count` pictures of noise.

    A quarter of them validates.
    """
    x, y = noise(count)
    valid = (x[: count // 4], y[: count // 4])
    data = ImageClassifierData.from_arrays(".", (x, y), valid, bs=bs)
    learn = Learner(data, small_net(), crit=F.nll_loss, metrics=[accuracy])
    network = small_net().to(DEVICE)
    network.to(memory_format=torch.channels_last)
    return partial(learn.fit, 0.01, 1), bare_fit(network, (x, y), valid, bs=bs, lr=0.01)


def bare_fit(network: nn.Module, train: Labelled, valid: Labelled, *, bs: int, lr: float) -> Epoch:
    """The shortest loop that trains, validates and reports: (losses, accuracy) of an epoch."""
    opt = optim.SGD(network.parameters(), lr, momentum=0.9, fused=True)  # as a Learner's

    def epoch() -> tuple[float, float, float]:
        network.train()
        x, y = train
        losses = []
        for idx in torch.randperm(len(x)).split(bs):
            opt.zero_grad()
            loss = F.nll_loss(network(x[idx].to(DEVICE)), y[idx].to(DEVICE))
            loss.backward()
            opt.step()
            losses.append(loss.detach())
        return (float(torch.stack(losses).mean()), *_validated(network, valid, bs))

    return epoch


@torch.inference_mode()
def _validated(network: nn.Module, valid: Labelled, bs: int) -> tuple[float, float]:
    """(mean loss, accuracy)."""
    network.eval()
    x, y = valid
    out = torch.cat([network(part.to(DEVICE)) for part in x.split(bs)])  # (n, classes)
    y = y.to(DEVICE)
    return float(F.nll_loss(out, y)), float(accuracy(out, y))


def noise(count: int) -> tuple[Tensor, Tensor]:
    """`count` pictures of noise, 96 x 96, in memory, and their classes."""
    x = torch.randn(count, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    return x, torch.arange(count) % 2


def small_net() -> nn.Sequential:
    """Three convolutions, so small that the cost of the loop itself shows."""
    convs = []
    for n_in, n_out in (3, 16), (16, 32), (32, 64):
        conv = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False)
        convs.append(nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU()))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2), nn.LogSoftmax(1)]
    return nn.Sequential(*convs, *head)
