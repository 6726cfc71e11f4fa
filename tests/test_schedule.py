import math

import matplotlib.pyplot as plt
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


def momentum_of(opt):
    """SGD's momentum, Adam's first beta, of each group."""
    return [group["betas"][0] if "betas" in group else group["momentum"] for group in opt.param_groups]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_sched_sets_momentum(kind):
    """Neither of the two is the optimizer's own at the start."""
    opt = optimizer(kind)
    own = momentum_of(opt)[0]
    sched = Sched(opt, circular(10, 2, 2, (0.8, 0.6)))
    seen = []
    for _ in range(11):
        sched.on_batch_begin()
        seen.append(momentum_of(opt))
        sched.on_batch_end(torch.tensor(1.0))
    down_and_up = [0.8 - 0.2 * (5 - abs(5 - i)) / 5 for i in range(10)]
    np.testing.assert_allclose(seen, np.transpose([[*down_and_up, 0.8]] * 2))
    assert own not in (0.8, 0.6)
    if kind is torch.optim.Adam:
        assert [group["betas"][1] for group in opt.param_groups] == [0.999] * 2


def test_the_loss_of_each_epoch_is_kept_where_there_is_one():
    sched = Sched(optimizer())
    for metrics in ([0.5, 0.9], [0.25], []):
        assert not sched.on_epoch_end(metrics)
    assert sched.val_losses == [0.5, 0.25]


def test_without_a_schedule_of_momentum_it_stays():
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.7)
    run(Sched(opt, sgdr(10)), [1.0] * 3)
    assert momentum_of(opt) == [0.7]


def test_the_rate_remembered_is_that_of_the_last_group_that_trains():
    sched = Sched(optimizer(), exponential(10, 1e3))
    run(sched, [1.0] * 3)
    assert sched.lrs == [sched.base[-1] * 1e3 ** (i / 10) for i in range(3)]
    assert sched.base == [0.1, 1.0]
    frozen_behind = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 0.1}, {"params": [], "lr": 7.0}], lr=1.0)
    sched = Sched(frozen_behind)
    run(sched, [1.0])
    assert sched.lrs == [0.1]


def test_finder_stops_when_the_loss_blows_up():
    assert run(LRFinder(optimizer(), constant), [1.0] * 30 + [500.0] * 5) == 30
    assert run(LRFinder(optimizer(), constant), [1.0] * 8 + [500.0]) is None  # best counts after ten
    assert run(LRFinder(optimizer(), constant), [1.0, math.nan]) == 1


@pytest.mark.parametrize(("n", "stopped"), [(9, None), (10, None), (11, 11), (12, 12)])
def test_the_best_is_looked_for_from_the_11th_batch_on(n, stopped):
    """Of n batches, and one in which the loss blows up."""
    assert run(LRFinder(optimizer(), constant), [1.0] * n + [500.0]) == stopped


def far_above(best, worse):
    """After how many batches of `worse` the finder stops, which has seen 30 of `best`; None: never in 500."""
    stopped = run(LRFinder(optimizer(), constant), [best] * 30 + [worse] * 500)
    return None if stopped is None else stopped - 29


def smoothed(best, worse, n):
    """The debiased average after 30 losses and n more, by hand."""
    average = 0.0
    for loss in [best] * 30 + [worse] * n:
        average = 0.98 * average + 0.02 * loss
    return average / (1 - 0.98 ** (30 + n))


def test_finder_stops_at_four_times_the_best_smoothed_loss():
    """A loss of ten times the best moves the average up slowly; one of 3.9 times never moves it so far."""
    n = far_above(1.0, 10.0)
    assert smoothed(1.0, 10.0, n - 1) <= 4 < smoothed(1.0, 10.0, n)
    assert n > 10
    assert far_above(1.0, 3.9) is None
    assert far_above(2.0, 20.0) == n


def test_one_wild_batch_does_not_stop_the_finder():
    losses = [1.0] * 30 + [50.0] + [1.0] * 30
    assert smoothed(1.0, 50.0, 1) < 4
    assert run(LRFinder(optimizer(), constant), losses) is None


@pytest.mark.parametrize("best", [-1.0, -9.3])
def test_a_loss_below_0_that_does_not_rise_never_stops_the_finder(best):
    assert run(LRFinder(optimizer(), constant), [best] * 200) is None
    assert run(LRFinder(optimizer(), constant), [best - i for i in range(200)]) is None
    assert far_above(best, best + 2 * abs(best)) is None
    assert far_above(best, best + 199 * abs(best)) == far_above(1.0, 1.0 + 199)  # by as many of its size


def test_finder_with_a_loss_of_0_stops_when_it_rises():
    assert run(LRFinder(optimizer(), constant), [0.0] * 20 + [1.0]) == 20


@pytest.fixture
def trained():
    """Fifty batches whose rates and losses differ from the number of the batch."""
    sched = Sched(optimizer(), exponential(50, 1e3))
    run(sched, [float(loss) for loss in 5 + np.sin(range(50))])
    yield sched
    plt.close("all")


def drawn():
    """x, y and names of the axes of the last figure."""
    ax = plt.gca()
    (line,) = ax.lines
    return list(line.get_xdata()), list(line.get_ydata()), ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()


def test_plot_draws_the_smoothed_loss_against_the_rate(trained):
    trained.plot()
    kept = slice(10, 45)
    x, y, *words = drawn()
    assert (x, y) == (trained.lrs[kept], trained.losses[kept].tolist())
    assert words == ["learning rate (log scale)", "loss (smoothed)", "log"]
    trained.plot(3, 0)
    assert drawn()[0] == trained.lrs[3:]


def test_plot_lr_draws_the_rate_against_the_iteration(trained):
    trained.plot_lr()
    assert drawn() == ([*range(50)], trained.lrs, "iteration", "learning rate", "linear")


def test_plot_loss_draws_the_smoothed_loss_against_the_iteration(trained):
    trained.plot_loss(0, 0)
    assert drawn() == ([*range(50)], trained.losses.tolist(), "iteration", "loss (smoothed)", "linear")
    trained.plot_loss()
    assert drawn()[0] == [*range(10, 45)]


@pytest.mark.parametrize(("n", "shown"), [(19, range(19)), (20, range(10, 15))])
def test_few_points_are_all_drawn(n, shown):
    sched = Sched(optimizer())
    run(sched, [1.0] * n)
    sched.plot_loss()
    assert drawn()[0] == [*shown]
    plt.close("all")


def test_an_interrupted_batch_has_a_rate_and_no_loss(trained):
    trained.raw.pop()
    trained.plot(0, 0)
    assert drawn()[0] == trained.lrs[:-1]


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
