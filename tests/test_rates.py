"""Rates as functions of the iteration, against PyTorch's and values by hand."""

import math

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from course_utils.rates import (
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


@pytest.mark.parametrize("nb", [19, 20, 21, 419, 420, 421])
def test_the_first_twentieth_of_a_cycle_is_a_warm_up(nb):
    """As long as i < nb / 20, in whole numbers: 20 i < nb."""
    slow = [i for i, factor in enumerate(factors(sgdr(nb), nb // 2)) if factor == 0.01]
    assert slow == [i for i in range(nb) if 20 * i < nb]


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


@pytest.mark.parametrize(("nb", "mult"), [(0, 1), (10, 0), (10, 0.5)])
def test_a_cycle_that_would_never_end_is_refused(nb, mult):
    with pytest.raises(ValueError, match="a cycle has 1 iteration or more, and does not shrink"):
        sgdr(nb, mult)


def test_what_is_just_within_bounds_is_taken():
    assert [make(1, 10, 4)(0).factor for make in (circular, circular_beta)] == [0.1, 0.1]  # a cycle of one iteration
    assert sgdr(1)(1).factor == 1
    for div in (1, 0.5):  # from the base rate, or twice as much
        assert [make(10, div, 4)(0).factor for make in (circular, circular_beta)] == [1 / div, 1 / div]
    assert factors(circular(10, 10, 1), 10) == pytest.approx([0.1 + 0.09 * i for i in range(10)])  # up all the way
    assert circular(10, 10, 4)(2).factor == 1  # the top is an iteration: 10 // 4


def triangle(i, length, cut_div=4, div=10):
    """By hand: up from 1/div in length // cut_div iterations, then down again."""
    top = length // cut_div
    height = i / top if i <= top else (length - i) / (length - top)
    return 1 / div + (1 - 1 / div) * height


@pytest.mark.parametrize("mult", [1, 2, 3])
def test_each_cycle_has_a_triangle_of_its_length(mult):
    nb = 40
    lengths = [nb * mult**k for k in range(4)]
    expected = [triangle(i, length) for length in lengths for i in range(length)]
    plan = circular(nb, 10, 4, (0.95, 0.85), mult)
    got = [plan(i) for i in range(sum(lengths))]
    np.testing.assert_allclose([step.factor for step in got], expected, atol=1e-12)
    heights = (np.array(expected) - 0.1) / 0.9
    np.testing.assert_allclose([step.momentum for step in got], 0.95 - 0.1 * heights, atol=1e-12)


@pytest.mark.parametrize(("nb", "pct"), [(200, 0), (1000, 10), (200, 40), (1000, 75), (333, 33.3)])
def test_use_clr_beta_goes_up_down_and_far_down_along_lines(nb, pct):
    """By hand: two legs of equal length, and what is left of the cycle."""
    plan, leg = circular_beta(nb, 8, pct, (0.95, 0.85)), int(nb * (100 - pct) / 200)
    for i in range(nb):
        if i <= 2 * leg:
            height = i / leg if i <= leg else (2 * leg - i) / leg
            expected = (1 / 8 + 7 / 8 * height, 0.95 - 0.1 * height)
        else:
            share = (i - 2 * leg) / (nb - 2 * leg)
            expected = (1 / 8 - share * (1 / 8 - 1 / 800), 0.95)
        assert plan(i) == pytest.approx(expected, abs=1e-12)


def test_all_of_a_cycle_may_be_its_end():
    assert factors(circular_beta(100, 8, 100), 100)[1:] == pytest.approx(np.linspace(1 / 8, 1 / 800, 101)[1:-1])


@pytest.mark.parametrize("plan", [sgdr(30), circular(30, 10, 4, (0.9, 0.8)), circular_beta(30, 10, 10, (0.9, 0.8))])
def test_unless_told_otherwise_all_cycles_are_as_long_as_the_first(plan):
    """Seen from the second on: the first begins with the warm-up."""
    for k in (2, 3):
        assert [plan(30 * k + i) for i in range(30)] == [plan(30 + i) for i in range(30)]


@pytest.mark.parametrize("mult", [1, 2])
def test_use_clr_beta_repeats_in_each_cycle(mult):
    once = circular_beta(200 * mult, 10, 10, (0.95, 0.85))
    plan = circular_beta(200, 10, 10, (0.95, 0.85), mult)
    assert [plan(200 + i) for i in range(200 * mult)] == [once(i) for i in range(200 * mult)]


def test_without_momenta_the_momentum_is_left_alone():
    for plan in (constant, exponential(10, 2), sgdr(10), circular(10, 10, 4), circular_beta(10, 10, 10)):
        assert plan(3).momentum is None
    assert [constant(i).factor for i in (0, 1, 1000)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("make", "numbers", "message"),
    [
        (circular, (0, 4), "div must be above 0 and cut_div 1 or more, not 0 and 4"),
        (circular, (10, 0), "not 10 and 0"),
        (circular, (10, 0.5), "not 10 and 0.5"),
        (circular, (math.nan, 4), "not nan and 4"),
        (circular_beta, (-1, 10), "div must be above 0 and pct from 0 to 100, not -1 and 10"),
        (circular_beta, (0, 10), "not 0 and 10"),
        (circular_beta, (10, 101), "not 10 and 101"),
        (circular_beta, (10, -1), "not 10 and -1"),
        (circular, (10, 4, (0.95, 1.5)), "momentum lies between 0 and 1"),
        (circular, (10, 4, (1, 0.85)), "unlike one of 1 and 0.85"),
        (circular, (10, 4, (0.95, 1)), "unlike one of 0.95 and 1"),
        (circular, (10, 4, (-0.1, 0.85)), "unlike one of -0.1 and 0.85"),
        (circular_beta, (10, 10, (0.95, -0.1)), "unlike one of 0.95 and -0.1"),
    ],
)
def test_shapes_that_are_none_are_refused(make, numbers, message):
    with pytest.raises(ValueError, match=message):
        make(100, *numbers)
