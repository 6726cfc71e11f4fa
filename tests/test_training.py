"""The training loop, against loops written by hand."""

import copy
import weakref
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp, moved, state
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_utils import training
from course_utils.batches import ArrayDataset, BatchLoader
from course_utils.core import DEVICE, set_seed, to_device
from course_utils.learner import Learner, fit, set_lrs, train_mode, validate
from course_utils.metrics import accuracy, accuracy_thresh, f2
from course_utils.training import Loaders, predict_with_targs

pytestmark = pytest.mark.usefixtures("exact")  # several tests compare bit for bit


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


class Nothing(nn.Module):
    """Predicts its input; counts what it has made and what of that is still held."""

    def __init__(self):
        super().__init__()
        self.made, self.held = [], []

    def forward(self, x):
        out = x.clone()
        self.made.append(weakref.ref(out))
        self.held.append(sum(ref() is not None for ref in self.made))
        return out


def pairs(n, bs, c=3):
    """Batches of random scores and class numbers, on the device."""
    g = torch.Generator().manual_seed(0)
    out, y = torch.randn(n, c, generator=g).log_softmax(1), torch.randint(c, (n,), generator=g)
    return list(zip(to_device(out).split(bs), to_device(y).split(bs), strict=True))


def whole(batches):
    return [torch.cat(column) for column in zip(*batches, strict=True)]


def test_means_over_rows_keep_no_more_than_a_batch_of_predictions():
    """A language model has millions of rows with thousands of scores each."""
    model, batches = Nothing(), pairs(1000, 10)
    metrics = [accuracy, accuracy_thresh(0.5), F.nll_loss, partial(F.nll_loss)]
    many = [(x, F.one_hot(y, 3)) for x, y in batches]
    validate(model, batches, F.nll_loss, [accuracy, F.nll_loss, partial(F.nll_loss)])
    validate(model, many, lambda out, y: out.mean(), metrics[1:2])
    assert max(model.held) <= 2


def test_metrics_by_batch_equal_those_of_the_set():
    """Of batches of 7, 7, … and 6 rows, to the last bit on a CPU."""
    batches = pairs(1000, 7)
    out, y = whole(batches)
    loss, acc, again = validate(Nothing(), batches, F.nll_loss, [accuracy, F.nll_loss])
    assert acc == pytest.approx(accuracy(out, y).item(), rel=0 if DEVICE.type == "cpu" else 1e-6)  # a GPU rounds
    assert [loss, again] == pytest.approx([F.nll_loss(out, y).item()] * 2, rel=1e-6)


def test_a_metric_that_says_nothing_gets_the_whole_set_once():
    calls = []

    def spread(preds, targs):
        calls.append((len(preds), len(targs)))
        return preds.std()  # no mean over rows

    batches = pairs(100, 16)
    out, _ = whole(batches)
    for metric in (spread, partial(spread)):
        got = validate(Nothing(), batches, F.nll_loss, [metric])[1]
        assert got == pytest.approx(out.std().item())
    assert calls == [(100, 100)] * 2


def test_f2_is_that_of_the_whole_set():
    batches = [(x.exp(), F.one_hot(y, 3)) for x, y in pairs(100, 16)]
    got = validate(Nothing(), batches, lambda out, y: out.mean(), [f2, partial(f2, end=0.9)])
    assert got[1:] == [f2(*whole(batches)), f2(*whole(batches), end=0.9)]


def test_a_table_names_functions_and_classes(tmp_path, capsys):
    class Right:
        def __call__(self, preds, targs):
            return accuracy(preds, targs)

    learn = Learner(array_data(tmp_path), mlp(), crit=F.nll_loss)
    row = learn.fit(0.1, 1, metrics=[partial(accuracy), Right(), accuracy])
    assert capsys.readouterr().out.split()[:5] == ["trn_loss", "val_loss", "accuracy", "Right", "accuracy"]
    whole_set = accuracy(*map(torch.from_numpy, learn.predict_with_targs())).item()
    assert row[1:] == pytest.approx([whole_set] * 3, rel=0 if DEVICE.type == "cpu" else 1e-6)  # a GPU rounds


class Gradients(nn.Module):
    """Notes whether its outputs have a history."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = mlp(), []

    def forward(self, x):
        out = self.net(x)
        self.seen.append(out.requires_grad)
        return out


def test_only_training_keeps_a_history(tmp_path):
    model, data = Gradients(), array_data(tmp_path)
    validate(model, data.val_dl, F.nll_loss)
    predict_with_targs(model, data.val_dl)
    Learner(data, model, crit=F.nll_loss).predict_array(data.val_ds.arrays[0])
    assert model.seen == [False] * 7
    del model.seen[:]
    Learner(data, model, crit=F.nll_loss).fit(0.1, 1)
    assert model.seen == [True] * 3 + [False] * 3


def test_losses_kept_for_the_plots_have_no_history(learn):
    learn.fit(0.1, 2)
    assert [(loss.requires_grad, loss.grad_fn, loss.shape) for loss in learn.sched.raw] == [(False, None, ())] * 6


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_targets_with_and_without_an_axis_train_the_same(tmp_path, shape):
    """Squared error of predictions (n, 1): the weights of a loop in which the shapes agree, bit for bit."""
    x, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40.0)
    data = SimpleNamespace(path=tmp_path, trn_dl=BatchLoader(ArrayDataset(x, y.reshape(shape)), 8))
    data.val_dl = data.trn_dl
    torch.manual_seed(0)
    model = to_device(nn.Linear(3, 1))
    plain = copy.deepcopy(model)
    loss = fit(model, data, 1, torch.optim.SGD(model.parameters(), 1e-4), F.mse_loss)[0]
    opt = torch.optim.SGD(plain.parameters(), 1e-4)
    for xb, yb in zip(to_device(x).split(8), to_device(y).split(8), strict=True):
        opt.zero_grad()
        F.mse_loss(plain(xb)[:, 0], yb).backward()
        opt.step()
    torch.testing.assert_close(model.weight, plain.weight, rtol=1e-6, atol=0)
    assert loss == pytest.approx(F.mse_loss(plain(to_device(x))[:, 0], to_device(y)).item(), rel=1e-5)


def test_two_targets_for_one_prediction_are_refused(tmp_path):
    data = SimpleNamespace(path=tmp_path, trn_dl=[(torch.ones(4, 3), torch.ones(4, 2))], val_dl=None)
    learn = Learner(data, nn.Linear(3, 1), crit=F.mse_loss)
    with pytest.raises(ValueError, match=r"^predictions \(4, 1\), targets \(4, 2\): mse_loss needs one target"):
        learn.fit(0.1, 1)


def test_pytorchs_own_loader_trains_finds_a_rate_and_predicts(tmp_path):
    """The numbers of `fit` with our loader, batch for batch."""
    ours, results = array_data(tmp_path), []
    sets = [TensorDataset(*ds.arrays) for ds in (ours.trn_ds, ours.val_ds)]
    theirs = SimpleNamespace(path=tmp_path, trn_dl=DataLoader(sets[0], 16), val_dl=DataLoader(sets[1], 20))
    ours.trn_dl.shuffle, ours.val_dl.bs = False, 20
    for data in (ours, theirs):
        learn = Learner(data, mlp(), crit=F.nll_loss, metrics=[accuracy])
        results.append([learn.fit(0.1, 2, cycle_len=1), learn.predict().tolist(), str(learn.summary())])
        learn.lr_find(num_it=10)
        results[-1] += [learn.sched.lrs, [loss.item() for loss in learn.sched.raw]]
    assert results[0] == results[1]
    assert len(results[1][3]) == 10
    with pytest.raises(ValueError, match="the data has no aug_dl: TTA needs one of augmented pictures"):
        learn.TTA()


def test_batches_are_put_on_the_device(monkeypatch):
    """Inputs and targets, in training and in validation; what is no tensor stays as it is."""
    sent = []
    monkeypatch.setattr(training, "to_device", lambda t: sent.append(t) or to_device(t))
    x, y, model = torch.ones(2, 3), torch.tensor([0, 1]), nn.Linear(3, 2).to(DEVICE)
    model.forward = lambda a, name, b: F.linear(a + b, model.weight)
    data = Loaders([(x, "name", x, y)], [(x, "name", x, y)])
    fit(model, data, 1, torch.optim.SGD(model.parameters(), 0.1), F.cross_entropy)
    assert [id(t) for t in sent] == [id(x), id(x), id(y)] * 2


@pytest.mark.parametrize("loader", [[], DataLoader(TensorDataset(torch.ones(3, 3), torch.ones(3)), 8, drop_last=True)])
def test_an_epoch_without_batches_says_so(tmp_path, loader):
    model, one = nn.Linear(3, 1).to(DEVICE), [(torch.ones(2, 3), torch.ones(2))]
    opt = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"^an epoch without batches: the loader of the training set gives none$"):
        fit(model, Loaders(loader), 1, opt, F.mse_loss)
    with pytest.raises(ValueError, match=r"^nothing to predict: the loader gives no batch$"):
        fit(model, Loaders(one, loader), 1, opt, F.mse_loss)
    for call in (validate, lambda *args: predict_with_targs(*args[:2])):
        with pytest.raises(ValueError, match="the loader gives no batch"):
            call(model, loader, F.mse_loss)
    learn = Learner(SimpleNamespace(path=tmp_path, trn_dl=loader, val_dl=None), model, crit=F.mse_loss)
    for train in (lambda: learn.fit(0.1, 1), learn.lr_find):
        with pytest.raises(ValueError, match=r"^trn_dl has no batches"):
            train()


def test_data_without_a_validation_set_trains():
    model = nn.Linear(3, 1).to(DEVICE)
    data = SimpleNamespace(trn_dl=[(torch.ones(2, 3), torch.ones(2))])
    assert fit(model, data, 1, torch.optim.SGD(model.parameters(), 0.1), F.mse_loss) == []


class Normed(nn.Module):
    """Two norms without weights, each in a layer group."""

    def __init__(self, norm):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(10, 4), norm(4))
        self.second = nn.Sequential(nn.Linear(4, 3), norm(3), nn.LogSoftmax(1))

    def forward(self, x):
        return self.second(self.first(x))


def no_weights(n):
    return nn.BatchNorm1d(n, affine=False)


def test_a_frozen_batchnorm_without_weights_keeps_its_statistics(tmp_path):
    learn = Learner(array_data(tmp_path), Normed(no_weights), crit=F.nll_loss)

    def kept(train=True):
        before = statistics(learn.model)
        learn.fit(0.1, 1)
        return [torch.equal(a, b) for a, b in zip(before, statistics(learn.model), strict=True)][::2]

    assert kept() == [False, False]  # never frozen
    learn.freeze()
    assert kept() == [True, False]
    assert [m.trainable for m in (learn.model.first, learn.model.second)] == [False, True]  # the name in fastai 0.7
    learn.unfreeze()
    assert kept() == [False, False]
    learn.bn_freeze(True)
    assert kept() == [True, True]


def test_weights_trained_again_by_hand_train_with_batch_statistics(learn):
    """What has weights is judged by them, whatever `freeze` has said before."""
    learn.freeze()
    learn.model.requires_grad_(True)
    train_mode(learn.model)
    assert all(m.training for m in learn.model.modules())
    learn.model[0].requires_grad_(False)
    train_mode(learn.model)
    assert [learn.model[i][1].training for i in (0, 1)] == [False, True]


def test_a_frozen_instancenorm_keeps_its_statistics(tmp_path):
    norm = nn.InstanceNorm1d(4, affine=True, track_running_stats=True)
    model = nn.Sequential(nn.Sequential(nn.Unflatten(1, (2, 5)), nn.Conv1d(2, 4, 1), norm, nn.Flatten()),
                          nn.Sequential(nn.Linear(20, 3), nn.LogSoftmax(1)))  # fmt: skip
    learn = Learner(array_data(tmp_path), model, crit=F.nll_loss)
    learn.freeze()
    before = norm.running_mean.clone()
    learn.fit(0.1, 1)
    assert torch.equal(norm.running_mean, before)


def test_a_printed_training_loss_is_the_smoothed_one(learn, capsys):
    learn.fit(0.1, 2)
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [float(row.split()[1]) for row in rows] == pytest.approx(learn.sched.losses[[2, 5]], abs=1e-5)
