"""What lesson 6 defines itself and the sample cannot show: on a GPU its LSTM is recorded and replayed."""

from copy import deepcopy

import pytest
import torch
from torch import nn, optim

from course_utils.core import DEVICE
from tools.cells import definitions, execute
from tools.run import NOTEBOOKS

NOTEBOOK = NOTEBOOKS / "lesson6-rnn.ipynb"


def test_a_replayed_lstm_trains_as_the_plain_one_does():
    """Same weights, batches of several lengths, the state carried on: the same outputs, gradients and steps."""
    torch.manual_seed(0)
    plain = nn.LSTM(5, 7, 2).to(DEVICE)
    replayed = execute(definitions(NOTEBOOK)).ReplayedLSTM(5, 7, 2).to(DEVICE)
    replayed.load_state_dict(plain.state_dict())
    nets = [
        [net, optim.SGD(net.parameters(), 0.1), torch.zeros(2, 2, 3, 7, device=DEVICE)] for net in (plain, replayed)
    ]
    for t in (8, 5, 8, 9, 5):
        batch, seen = torch.randn(t, 3, 5, device=DEVICE), []
        for kept in nets:
            net, opt, state = kept
            x = batch.clone().requires_grad_()
            opt.zero_grad()
            out, after = net(x, tuple(state))
            out.square().sum().backward()
            seen.append([out.detach().clone(), x.grad.clone(), *(p.grad.clone() for p in net.parameters())])
            opt.step()
            kept[2] = torch.stack(after).detach()
        for ours, theirs in zip(*seen, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert len(replayed.graphs) == (3 if DEVICE.type == "cuda" else 0)
    with torch.no_grad():
        ends = [net.eval()(batch, tuple(state))[0] for net, _, state in nets]
    torch.testing.assert_close(*ends)
    assert deepcopy(replayed).cpu()(batch.cpu(), tuple(nets[1][2].cpu()))[0].shape == (5, 3, 7)


class OnGpu(torch.Tensor):
    """Claims to be on a GPU, so that the branch for it runs without one."""

    is_cuda = True


def test_each_shape_is_recorded_once_with_the_weights_of_the_layer(monkeypatch):
    recorded = []

    def record(layer, inputs):
        recorded.append((layer, inputs))
        return layer

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    torch.manual_seed(0)
    net, plain = execute(definitions(NOTEBOOK)).ReplayedLSTM(5, 7, 2), nn.LSTM(5, 7, 2)
    net.load_state_dict(plain.state_dict())
    zeros = torch.zeros(2, 3, 7)
    for t in (8, 5, 8):
        x = torch.randn(t, 3, 5)
        out, _ = net(x.as_subclass(OnGpu), (zeros, zeros))
        torch.testing.assert_close(out.as_subclass(torch.Tensor), plain(x, (zeros, zeros))[0])
    assert [len(inputs[0]) for _, inputs in recorded] == [8, 5]
    for layer, (x, (h, c)) in recorded:
        assert all(ours is theirs for ours, theirs in zip(layer.parameters(), net.parameters(), strict=True))
        assert x.requires_grad
        assert len({h.data_ptr(), c.data_ptr(), zeros.data_ptr()}) == 3  # a recording owns what it reads
    net.eval()(torch.randn(9, 3, 5).as_subclass(OnGpu), (zeros, zeros))
    assert len(recorded) == 2  # in training only


@pytest.mark.skipif(DEVICE.type != "cuda", reason="replays are on a GPU only")
def test_each_replay_draws_a_new_dropout():
    torch.manual_seed(0)
    net = execute(definitions(NOTEBOOK)).ReplayedLSTM(5, 64, 2, dropout=0.5).to(DEVICE)
    x, state = torch.randn(8, 3, 5, device=DEVICE, requires_grad=True), tuple(torch.zeros(2, 2, 3, 64, device=DEVICE))
    first, second = (net(x, state)[0].detach().clone() for _ in range(2))
    assert (first - second).abs().max() > 0.01
