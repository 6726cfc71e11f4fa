"""Optimizers by layer group."""

import copy
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp, state
from torch import nn

from course_utils import optimizers
from course_utils.core import DEVICE, set_seed, to_device
from course_utils.learner import LayerOptimizer, Learner, fit, set_lrs
from course_utils.optimizers import stepped_together

pytestmark = pytest.mark.usefixtures("exact")  # several tests compare bit for bit


def test_one_group_of_the_optimizer_trains_as_three_do(tmp_path):
    """Bit for bit: the same rates, given as a number and as a list with one rate a hair off that no weight can feel."""
    models = []
    for lrs in (0.05, [0.05, 0.05, np.nextafter(0.05, 1)]):
        set_seed(0)
        models.append(model := mlp())
        Learner(array_data(tmp_path), model, crit=F.nll_loss).fit(lrs, 2, wds=0.1)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_group_rates_scale_the_step(learn):
    """One step of plain SGD moves each group by its own rate times the gradient; rate 0 not at all."""
    learn.opt_fn = torch.optim.SGD
    x, y = map(to_device, learn.data.trn_ds.arrays)
    learn.data.trn_dl.bs, learn.data.trn_dl.shuffle = len(y), False
    model, before = copy.deepcopy(learn.model).train(), state(learn.model)
    F.nll_loss(model(x), y).backward()
    learn.fit([0, 0.01, 0.1], 1)
    for (name, p), rate in zip(model.named_parameters(), [0] * 4 + [0.01] * 4 + [0.1] * 2, strict=True):
        torch.testing.assert_close(learn.model.state_dict()[name], before[name] - rate * p.grad)


def test_layer_optimizer_takes_a_model_or_groups():
    model = mlp()
    (group,) = LayerOptimizer(torch.optim.Adam, model, 1e-2, 1e-5).opt.param_groups
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (1e-2, 1e-5, len(list(model.parameters())))
    model[0].requires_grad_(False)
    groups = LayerOptimizer(torch.optim.SGD, list(model), [1, 2, 3], np.array([0, 0.1, 0.2])).opt.param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(1, 0), (2, 0.1), (3, 0.2)]
    assert [len(g["params"]) for g in groups] == [0, 4, 2]  # what is frozen is left out of its group
    with pytest.raises(ValueError, match=r"^2 rates for 3 layer groups"):
        LayerOptimizer(torch.optim.SGD, list(model), [1, 2])


def test_an_implementation_chosen_by_partial_is_kept():
    opt = LayerOptimizer(partial(torch.optim.Adam, foreach=True), mlp(), 0.1).opt
    assert (opt.defaults["foreach"], opt.defaults["fused"]) == (True, None)


def test_weight_decay_shrinks_weights(learn):
    norms = []
    for wds in (None, [0, 0, 0.5]):
        learn.module = mlp()
        set_seed(0)
        learn.fit(0.1, 5, wds=wds)
        norms.append(learn.model[2][0].weight.norm().item())
    assert norms[1] < 0.7 * norms[0]


@pytest.mark.parametrize("lrs", [0.1, [0.1, 0.1, 0.1], [0.1, 0.2, 0.3]])
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_groups_are_the_layer_groups_and_stay_so(learn, lrs, frozen):
    """Whatever rates they have, before, while and after they train."""
    learn.freeze_to(frozen)
    model = learn.model
    opt = LayerOptimizer(torch.optim.Adam, list(model), lrs).opt
    trained = [[id(p) for p in group.parameters() if p.requires_grad] for group in model]

    def check(rates):
        assert [group["lr"] for group in opt.param_groups] == rates
        assert [[id(p) for p in group["params"]] for group in opt.param_groups] == trained

    check(np.broadcast_to(lrs, 3).tolist())
    fit(model, learn.data, 1, opt, F.nll_loss)
    set_lrs(opt, [0.01, 0.02, 0.03])
    check([0.01, 0.02, 0.03])
    fit(model, learn.data, 1, opt, F.nll_loss)
    set_lrs(opt, 0.5)
    check([0.5] * 3)
    with pytest.raises(ValueError, match=r"^2 rates for 3 layer groups: give one number or 3$"):
        set_lrs(opt, [0.1, 0.2])
    learn.fit(lrs, 1)
    set_lrs(learn.sched.opt, [0.1, 0.2, 0.3])
    assert [group["lr"] for group in learn.sched.opt.param_groups] == [0.1, 0.2, 0.3]


def test_a_layer_group_without_parameters_is_a_group_too():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    opt = LayerOptimizer(torch.optim.SGD, list(model), [1, 2, 3]).opt
    assert [(group["lr"], len(group["params"])) for group in opt.param_groups] == [(1, 2), (2, 0), (3, 2)]


class Spy(torch.optim.SGD):
    """Notes the groups that each step sees."""

    def __init__(self, params, lr, fused=False):
        super().__init__(params, lr=lr, fused=fused)
        self.seen = []

    def step(self, closure=None):
        self.seen.append([(group["lr"], len(group["params"])) for group in self.param_groups])
        return super().step(closure)


@pytest.mark.parametrize(
    ("fused", "lrs", "frozen", "seen"),
    [
        (True, [0.1, 0.1, 0.1], 0, [(0.1, 10)]),
        (True, [0.1, 0.1, 0.2], 0, [(0.1, 4), (0.1, 4), (0.2, 2)]),
        (True, [0.3, 0.1, 0.1], 1, [(0.1, 6)]),
        (False, [0.1, 0.1, 0.1], 0, [(0.1, 4), (0.1, 4), (0.1, 2)]),
        (False, [0.1, 0.1, 0.1], 2, [(0.1, 2)]),
    ],
)
def test_equal_groups_are_stepped_together(learn, fused, lrs, frozen, seen):
    """An optimizer that is not fused may keep numbers of its own in a group, so it gets them as they are."""
    learn.freeze_to(frozen)
    learn.opt_fn = partial(Spy, fused=fused)
    learn.fit(lrs, 1)
    assert learn.sched.opt.seen == [seen] * 3
    assert len(learn.sched.opt.param_groups) == 3


def test_groups_come_back_after_an_error_in_a_step():
    model = mlp()
    opt = LayerOptimizer(torch.optim.SGD, list(model), 0.1).opt
    with suppress(KeyboardInterrupt), stepped_together(opt):
        assert len(opt.param_groups) == 1
        raise KeyboardInterrupt
    set_lrs(opt, [1, 2, 3])
    assert [group["lr"] for group in opt.param_groups] == [1, 2, 3]


KINDS = [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lrs", [0.01, [0.03, 0.02, 0.01]])
def test_groups_with_a_frozen_one_train_as_pytorchs_own(kind, lrs):
    """To the bit: the same optimizer made by hand, without the empty group."""
    models = [mlp(), mlp()]
    x, y = torch.randn(8, 10, device=DEVICE), torch.arange(8, device=DEVICE) % 3
    for model in models:
        model[0].requires_grad_(False)
    without = {torch.optim.RMSprop} if DEVICE.type == "cpu" else {torch.optim.RMSprop, torch.optim.Adagrad}
    fused = {} if kind in without else {"fused": True}
    ours = LayerOptimizer(kind, list(models[0]), lrs, 0.1).opt
    rates = np.broadcast_to(lrs, 3)[1:].tolist()
    groups = [{"params": list(g.parameters()), "lr": lr} for g, lr in zip(models[1][1:], rates, strict=True)]
    theirs = kind(groups, weight_decay=0.1, **fused)
    for _ in range(3):
        for model, opt in zip(models, (ours, theirs), strict=True):
            opt.zero_grad()
            F.nll_loss(model(x), y).backward()
            with stepped_together(opt):
                opt.step()
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_step_sees_the_rate_of_its_own_batch(learn, kind):
    """What `sched.lrs` holds for a batch is what the optimizer has when it makes that batch's step."""
    rates = []

    def opt_fn(params, lr):
        opt = kind(params, lr=lr)
        opt.register_step_pre_hook(lambda opt, *_: rates.append([group["lr"] for group in opt.param_groups]))
        return opt

    learn.opt_fn = opt_fn
    learn.fit([0.001, 0.01, 0.1], 2, cycle_len=2)
    assert len(rates) == 12
    assert [lr for *_, lr in rates] == learn.sched.lrs
    np.testing.assert_allclose(rates, np.outer(learn.sched.lrs, [0.01, 0.1, 1]))
    assert len(set(learn.sched.lrs)) > 4


@pytest.mark.parametrize(("device", "adagrad"), [("cpu", True), ("cuda", None)])
def test_adagrad_has_one_kernel_a_step_on_a_cpu_alone(monkeypatch, device, adagrad):
    """A fused step on a GPU is refused by PyTorch; the optimizer itself looks at its parameters, which are here."""
    monkeypatch.setattr(optimizers, "DEVICE", torch.device(device))
    model = mlp().to("cpu")
    for opt_fn in (torch.optim.Adagrad, partial(torch.optim.Adagrad, eps=1e-8)):
        assert LayerOptimizer(opt_fn, model, 0.1).opt.defaults["fused"] is adagrad
    assert LayerOptimizer(torch.optim.Adam, model, 0.1).opt.defaults["fused"] is True
    assert LayerOptimizer(partial(torch.optim.SGD, momentum=0.9), model, 0.1).opt.defaults["fused"] is True


def test_rates_and_decays_that_do_not_fit_are_named():
    groups = list(mlp())
    with pytest.raises(ValueError, match=r"^2 wds for 3 layer groups: give one number or 3$"):
        LayerOptimizer(torch.optim.SGD, groups, 0.1, [0, 1])
    for wds in (-1, [0, np.nan, 0], [0, 0, np.inf]):
        with pytest.raises(ValueError, match=r"^wds must be finite and not negative, got \["):
            LayerOptimizer(torch.optim.SGD, groups, 0.1, wds)
    opt = LayerOptimizer(torch.optim.SGD, groups, [0, 0.1, 0.2]).opt  # a rate of 0 holds a group
    for lrs in (-0.1, [0.1, 0.1, np.nan], [np.inf, 0, 0]):
        with pytest.raises(ValueError, match=r"^rates must be finite and not negative, got \["):
            set_lrs(opt, lrs)
    assert [group["lr"] for group in opt.param_groups] == [0, 0.1, 0.2]
