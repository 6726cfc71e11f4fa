import math

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from course_utils.learner import LayerOptimizer
from course_utils.schedule import (
    CosAnneal,
    LRFinder,
    Sched,
    circular,
    circular_beta,
    constant,
    exponential,
    sgdr,
    smooth,
)


def factors(schedule, n):
    return [schedule(i)[0] for i in range(n)]


@pytest.mark.parametrize("mult", [1, 2, 3])
def test_sgdr_equals_torchs_warm_restarts_after_the_warm_up(mult):
    nb, n = 40, 40 * (1 + mult + mult**2)
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = CosineAnnealingWarmRestarts(opt, T_0=nb, T_mult=mult)
    expected = []
    for _ in range(n):
        expected.append(opt.param_groups[0]["lr"])
        opt.step()
        scheduler.step()
    got = factors(sgdr(nb, mult), n)
    assert got[:2] == [0.01, 0.01]  # nb / 20 iterations, once per fit
    np.testing.assert_allclose(got[2:], expected[2:], atol=1e-12)


def test_sgdr_has_the_originals_values():
    rates = factors(sgdr(100), 201)
    assert rates[4] == 0.01
    assert rates[5] == pytest.approx((1 + math.cos(math.pi * 0.05)) / 2)
    assert rates[99] == pytest.approx(0.000247, abs=1e-6)
    assert rates[100] == 1.0


def test_use_clr_has_the_originals_values():
    rates = factors(circular(1000, 32, 10), 1000)
    assert rates[0] == pytest.approx(0.03125)
    assert rates[100] == pytest.approx(1.0)
    assert max(rates) == rates[100]
    assert rates[-1] == pytest.approx(1 / 32, abs=2e-3)


def test_momentum_runs_against_the_rate():
    plan = circular(100, 10, 4, (0.95, 0.85))
    assert [plan(i)[1] for i in (0, 25)] == [0.95, 0.85]
    assert plan(62)[1] == pytest.approx(0.95 - 0.1 * 38 / 75)


def test_use_clr_beta_ends_far_below_the_start():
    plan = circular_beta(1000, 10, 10, (0.95, 0.85))
    assert plan(0)[0] == pytest.approx(0.1)
    assert plan(450) == pytest.approx((1.0, 0.85))
    assert plan(900) == pytest.approx((0.1, 0.95))
    assert plan(999)[0] == pytest.approx(0.001 + (0.1 - 0.001) / 100)


def test_exponential():
    assert factors(exponential(10, 1e6), 11)[5] == pytest.approx(1e3)
    assert factors(exponential(10, 1e6), 11)[0] == 1


def test_smooth_is_the_debiased_average():
    losses, average, expected = [3.0, 1.0, 2.0, 5.0], 0.0, []
    for i, loss in enumerate(losses):
        average = 0.98 * average + 0.02 * loss
        expected.append(average / (1 - 0.98 ** (i + 1)))
    np.testing.assert_allclose(smooth(losses), expected)


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


@pytest.mark.parametrize(("nb", "mult"), [(0, 1), (10, 0), (10, 0.5)])
def test_a_cycle_that_would_never_end_is_refused(nb, mult):
    with pytest.raises(ValueError, match="a cycle has 1 iteration or more, and does not shrink"):
        sgdr(nb, mult)
