"""Training in float16 with a scaled loss, as on a T4: against float32, on the GPU if there is one, else on the CPU."""

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp, state
from torch import nn

from course_utils import core
from course_utils.batches import ArrayDataset, BatchLoader
from course_utils.core import DEVICE, set_seed
from course_utils.learner import Learner
from course_utils.metrics import accuracy

SMALL = 1e-6  # a loss so small that its gradients are 0 in float16
KINDS = [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop]  # with the scale in the kernel, twice, and without


@pytest.fixture
def in_precision(monkeypatch):
    """Choose what forward passes compute in, as `fast_precision` would."""
    return lambda dtype: monkeypatch.setattr(core, "PRECISION", dtype)


class Watched(nn.Module):
    """The network of the tests; notes the precision of its largest product."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = mlp(), set()
        self.net[0][0].register_forward_hook(lambda module, args, out: self.seen.add(out.dtype))

    def forward(self, x):
        return self.net(x)


def train(tmp_path, opt_fn=torch.optim.SGD, lr=0.1, epochs=4, crit=F.nll_loss, **options):
    """(learner, [validation loss, accuracy]) after some epochs on batches in order."""
    set_seed(0)
    data = array_data(tmp_path)
    data.trn_dl.shuffle = False
    learn = Learner(data, Watched(), opt_fn, crit, [accuracy], **options)
    return learn, learn.fit(lr, epochs)


@pytest.mark.parametrize("opt_fn", KINDS)
def test_trains_as_float32_does(tmp_path, in_precision, opt_fn):
    """The loss falls, in float16 batch by batch as in float32 but for its three digits."""
    losses = {}
    for dtype in (torch.float32, torch.float16):
        in_precision(dtype)
        learn, last = train(tmp_path, opt_fn, 0.1 if opt_fn is torch.optim.SGD else 0.01)
        assert learn.model.seen == {dtype}
        assert all(p.dtype is torch.float32 for p in learn.model.parameters())
        assert last[0] < 0.9 * learn.sched.val_losses[0]
        losses[dtype] = [loss.item() for loss in learn.sched.raw]
    np.testing.assert_allclose(losses[torch.float16], losses[torch.float32], rtol=0.03)


@pytest.mark.parametrize("opt_fn", KINDS[:2])
def test_small_gradients_are_not_lost(tmp_path, in_precision, opt_fn):
    """The same steps as with a loss of the usual size; unscaled, the first layer would not move at all."""
    rate = {torch.optim.SGD: 0.1 / SMALL, torch.optim.Adam: 0.01}[opt_fn]
    opt_fn = {torch.optim.Adam: partial(torch.optim.Adam, eps=1e-8 * SMALL)}.get(opt_fn, opt_fn)
    weights = {}
    for dtype in (torch.float32, torch.float16):
        in_precision(dtype)
        learn, _ = train(tmp_path, opt_fn, rate, 2, lambda out, y: SMALL * F.nll_loss(out, y))
        weights[dtype] = learn.model.net[0][0].weight.detach()
    first = mlp()[0][0].weight.detach()
    step, expected = weights[torch.float16] - first, weights[torch.float32] - first
    assert (step - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("opt_fn", KINDS)
def test_clipping_sees_gradients_as_they_are(tmp_path, in_precision, opt_fn):
    in_precision(torch.float16)
    norms = []

    def spied(params, lr):
        opt = opt_fn(params, lr=lr)
        register = opt.register_step_pre_hook
        opt.register_step_pre_hook = lambda hook: [register(hook), register(note)]  # after the hook that clips
        return opt

    def note(opt, *_):
        grads = [p.grad.flatten() for group in opt.param_groups for p in group["params"]]
        norms.append(torch.cat(grads).norm().item())

    train(tmp_path, spied, 0.01, 2, clip=1e-3)
    np.testing.assert_allclose(norms, 1e-3, rtol=1e-2)


def test_a_clipped_step_has_the_length_it_may_have(tmp_path, in_precision):
    in_precision(torch.float16)
    before = state(Watched())
    learn, _ = train(tmp_path, torch.optim.SGD, 1.0, 1, clip=1e-3)
    moved = [(p - before[name]).flatten() for name, p in learn.model.named_parameters()]
    assert 1e-3 < torch.cat(moved).norm() < 3.1e-3  # three steps


@pytest.mark.parametrize("opt_fn", KINDS)
def test_a_step_that_overflows_is_left_out(tmp_path, in_precision, opt_fn):
    """The first batch's gradients are infinite in float16; the next are not."""
    in_precision(torch.float16)
    weights, calls = [], []

    class Watch:
        def on_batch_begin(self):
            weights.append(copy.deepcopy(learn.model.net[0][0].weight.detach()))

    def too_large_once(out, y):
        calls.append(1)
        return F.nll_loss(out, y) * (1e6 if len(calls) == 1 else 1)

    learn = Learner(array_data(tmp_path), Watched(), opt_fn, too_large_once)
    learn.fit(0.01, 1, callbacks=[Watch()])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert all(p.isfinite().all() for p in learn.model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_a_convolutional_network_learns_on_a_gpu(tmp_path, in_precision, precision):
    """Noise whose colour tells its class: as sure as in float32 after some epochs."""
    losses = {}
    for dtype in (torch.float32, precision):
        in_precision(dtype)
        set_seed(0)
        learn = Learner(coloured(tmp_path), convnet(), torch.optim.Adam, F.nll_loss, [accuracy], clip=1.0)
        losses[dtype], acc = learn.fit(3e-3, 2, cycle_len=4)
        assert acc > 0.95
        assert losses[dtype] < 0.3
        assert next(learn.model.parameters()).device.type == DEVICE.type == "cuda"
    assert losses[precision] == pytest.approx(losses[torch.float32], abs=0.05)


def convnet():
    """Two convolutions with BatchNorm."""
    torch.manual_seed(0)
    layers = []
    for n_in, n_out in ((3, 16), (16, 32)):
        layers += [nn.Conv2d(n_in, n_out, 3, 2, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(nn.Sequential(*layers), nn.Sequential(nn.Linear(32, 2), nn.LogSoftmax(1)))


def coloured(path):
    """Noise, reddish or bluish; the first 192 to train on, 64 to validate."""
    y = torch.arange(256) % 2
    tint = torch.tensor([[-0.2, 0, 0.2], [0.2, 0, -0.2]])[y, :, None, None]  # (n, 3, 1, 1)
    x = torch.randn(256, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + tint
    trn = BatchLoader(ArrayDataset(x[:192], y[:192]), 32, shuffle=True)
    return SimpleNamespace(path=path, trn_dl=trn, val_dl=BatchLoader(ArrayDataset(x[192:], y[192:]), 32))
