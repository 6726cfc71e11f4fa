"""Optimizers by layer group."""

import copy
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp, state

from course_utils import training
from course_utils.core import set_seed, to_device
from course_utils.learner import LayerOptimizer, Learner
from course_utils.metrics import accuracy


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """float32 on a GPU too: several tests compare bit for bit."""
    monkeypatch.setattr(training, "autocast", nullcontext)


@pytest.fixture
def learn(tmp_path):
    return Learner(array_data(tmp_path), mlp(), crit=F.nll_loss, metrics=[accuracy])


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
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(2, 0.1), (3, 0.2)]
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
