"""The training loop, against loops written by hand."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp, moved, state
from torch import nn

from course_utils import training
from course_utils.core import DEVICE, set_seed, to_device
from course_utils.learner import Learner, fit, set_lrs, train_mode, validate
from course_utils.metrics import accuracy


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """float32 on a GPU too: several tests compare bit for bit."""
    monkeypatch.setattr(training, "autocast", nullcontext)


@pytest.fixture
def learn(tmp_path):
    return Learner(array_data(tmp_path), mlp(), crit=F.nll_loss, metrics=[accuracy])


def statistics(model):
    return [b.clone() for k, b in model.named_buffers() if "running" in k]


def test_fit_equals_a_plain_loop(tmp_path):
    """Same batches, same seed: the same weights as a loop written out by hand, bit for bit."""
    data, model = array_data(tmp_path), mlp()
    plain = copy.deepcopy(model)
    set_seed(3)
    Learner(data, model, crit=F.nll_loss).fit(0.05, 2)
    set_seed(3)
    opt = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, fused=True)
    for _ in range(2):
        plain.train()
        for x, y in data.trn_dl:
            opt.zero_grad()
            F.nll_loss(plain(x), y).backward()
            opt.step()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True))


def test_training_learns_and_returns_the_last_row(learn):
    loss, acc = learn.fit(0.1, 15)
    assert acc > 0.7
    np.testing.assert_allclose([loss, acc], validate(learn.model, learn.data.val_dl, F.nll_loss, [accuracy]))


def test_validation_loss_weighs_by_rows(learn):
    x, y = map(to_device, learn.data.val_ds.arrays)
    learn.model.eval()
    with torch.no_grad():
        out = learn.model(x)
    learn.data.val_dl.bs = 17  # 17, 17, 14
    values = validate(learn.model, learn.data.val_dl, F.nll_loss, [accuracy])
    np.testing.assert_allclose(values, [F.nll_loss(out, y).item(), accuracy(out, y).item()], rtol=1e-6)


def test_low_level_fit_keeps_the_optimizer(tmp_path):
    data, model = array_data(tmp_path), mlp()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    fit(model, data, 2, opt, F.nll_loss)
    steps = opt.state[next(model.parameters())]["step"].item()
    set_lrs(opt, 1e-3)
    fit(model, data, 1, opt, F.nll_loss)
    assert opt.state[next(model.parameters())]["step"].item() == steps * 1.5
    assert opt.param_groups[0]["lr"] == 1e-3


def test_tuple_outputs_and_reset(tmp_path):
    calls = []

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def reset(self):
            calls.append(1)

        def forward(self, x):
            out = self.net(x)
            return out, out.exp()

    extras = []
    learn = Learner(array_data(tmp_path), Model(), crit=F.nll_loss)
    learn.reg_fn = lambda out, extra, loss: (extras.append(extra), loss)[1]
    learn.fit(0.1, 1)
    assert len(calls) == 2
    assert torch.allclose(extras[0][0].sum(1).cpu(), torch.ones(16))


def test_a_state_kept_in_validation_can_be_trained_on(tmp_path):
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.mix, self.h = mlp(), nn.Linear(3, 3), torch.zeros(3, device=DEVICE)

        def forward(self, x):
            out = self.net(x)
            mixed = out + self.mix(self.h)
            self.h = out.detach().mean(0)
            return mixed.log_softmax(1)

    Learner(array_data(tmp_path), Stateful(), crit=F.nll_loss).fit(0.01, 2)


def test_reg_fn_is_minimised_but_not_printed(learn):
    before = state(learn.model)
    learn.reg_fn = lambda out, extra, loss: loss * 0
    learn.fit(0.1, 1)
    assert not moved(before, learn.model.state_dict())
    assert learn.sched.losses[-1] > 0.1


def test_frozen_batchnorm_keeps_its_statistics(learn):
    learn.freeze_to(1)
    before = statistics(learn.model)
    learn.fit(0.1, 1)
    same = [torch.equal(a, b) for a, b in zip(before, statistics(learn.model), strict=True)]
    assert same == [True, True, False, False]


def test_bn_freeze_keeps_all_statistics_but_trains_the_weights(learn):
    learn.bn_freeze(True)
    before, weights = statistics(learn.model), state(learn.model)
    learn.fit(0.1, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(learn.model), strict=True))
    assert moved(weights, learn.model.state_dict()) == {0, 1, 2}
    learn.bn_freeze(False)
    learn.fit(0.1, 1)
    assert not torch.equal(before[0], statistics(learn.model)[0])


def test_a_model_never_frozen_trains_with_batch_statistics():
    model = mlp()
    train_mode(model)
    assert all(m.training for m in model.modules())
