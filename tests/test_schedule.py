import math

import numpy as np
import pytest
import torch

from course_utils.learner import LayerOptimizer
from course_utils.schedule import (
    CosAnneal,
    LRFinder,
    Sched,
    circular,
    constant,
    exponential,
    sgdr,
)


def run(sched, losses):
    stopped = None
    for i, loss in enumerate(losses):
        sched.on_batch_begin()
        if sched.on_batch_end(torch.tensor(loss)) and stopped is None:
            stopped = i
    return stopped


def optimizer(kind=torch.optim.SGD):
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 1.0)]
    return kind(groups, lr=1.0)


def test_sched_sets_each_groups_rate_and_remembers():
    opt = optimizer()
    sched = Sched(opt, sgdr(40))
    run(sched, [2.0] * 21)
    assert [g["lr"] for g in opt.param_groups] == pytest.approx([0.05, 0.5])
    assert len(sched.lrs) == 21
    np.testing.assert_allclose(sched.losses, 2.0)


@pytest.mark.parametrize(("kind", "key"), [(torch.optim.SGD, "momentum"), (torch.optim.Adam, "betas")])
def test_sched_sets_momentum(kind, key):
    opt = optimizer(kind)
    run(Sched(opt, circular(10, 2, 2, (0.9, 0.7))), [1.0])
    assert opt.param_groups[0][key] in (0.9, (0.9, 0.999))


def test_finder_stops_when_the_loss_blows_up():
    assert run(LRFinder(optimizer(), constant), [1.0] * 30 + [500.0] * 5) == 30
    assert run(LRFinder(optimizer(), constant), [1.0] * 8 + [500.0]) is None  # best counts after ten
    assert run(LRFinder(optimizer(), constant), [1.0, math.nan]) == 1


def test_plots_skip_the_first_and_last_points():
    sched = Sched(optimizer(), exponential(50, 1e3))
    run(sched, [1.0] * 50)
    sched.plot()
    import matplotlib.pyplot as plt

    line = plt.gca().lines[0]
    assert len(line.get_xdata()) == 35
    assert plt.gca().get_xscale() == "log"
    sched.plot_lr()
    assert len(plt.gca().lines[0].get_xdata()) == 50
    sched.plot_loss(0, 0)
    assert len(plt.gca().lines[0].get_xdata()) == 50
    plt.close("all")


def test_cosanneal_runs_the_cycles_of_sgdr_and_tells_when_one_ends():
    """Three cycles of 10, 20 and 40 batches: the rates of `Sched`, and a call after the last batch of each."""
    lo = LayerOptimizer(torch.optim.SGD, torch.nn.Linear(1, 1), 0.5)
    ends: list[tuple[int, int]] = []
    got = CosAnneal(lo, 10, on_cycle_end=lambda sched, k: ends.append((k, len(sched.raw))), cycle_mult=2)
    want = Sched(LayerOptimizer(torch.optim.SGD, torch.nn.Linear(1, 1), 0.5).opt, sgdr(10, 2))
    for callback in (got, want):
        for _ in range(75):
            callback.on_batch_begin()
            assert not callback.on_batch_end(torch.tensor(1.0))
    assert got.lrs == want.lrs
    assert ends == [(0, 10), (1, 30), (2, 70)]
