"""What listens to `fit`."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import state
from torch import nn

from course_utils.batches import ArrayDataset, BatchLoader
from course_utils.callbacks import EVENTS, Callback, SaveBest
from course_utils.learner import Learner, fit, validate
from course_utils.metrics import exp_rmspe, lower_is_better

pytestmark = pytest.mark.usefixtures("exact")  # several tests compare bit for bit


def test_callback_stops_training(learn):
    class Stop(Callback):
        def on_batch_end(self, loss):
            return True

    learn.fit(0.1, 5, callbacks=[Stop()])
    assert (len(learn.sched.lrs), len(learn.sched.val_losses)) == (1, 1)


def test_the_best_epoch_is_saved(learn):
    """The file holds the weights after the epoch of the highest accuracy (of equal ones, that of the lowest loss)."""
    seen = []

    class Keep(Callback):
        def on_epoch_end(self, metrics):
            seen.append((metrics[1], -metrics[0], state(learn.model)))

    learn.fit(0.3, 3, best_save_name="best", callbacks=[Keep()])
    best = max(seen, key=lambda row: row[:2])[2]
    assert not all(torch.equal(best[k], v) for k, v in learn.model.state_dict().items())  # it was not the last
    learn.load("best")
    assert all(torch.equal(best[k], v) for k, v in learn.model.state_dict().items())


def test_without_metrics_the_lowest_loss_is_the_best(learn):
    learn.metrics = []
    learn.fit(0.3, 3, best_save_name="best")
    learn.load("best")
    assert validate(learn.model, learn.data.val_dl, F.nll_loss)[0] == pytest.approx(min(learn.sched.val_losses))


class Listener:
    """Written for fastai 0.7, of no class of ours: notes each event and what it is told."""

    def __init__(self, log, stop=None):
        self.log, self.stop = log, stop

    def note(self, event, *news):
        self.log.append((event, *news))
        return self.stop == event

    def on_train_begin(self):
        self.note("train_begin")

    def on_phase_begin(self):
        self.note("phase_begin")

    def on_epoch_begin(self):
        self.note("epoch_begin")

    def on_batch_begin(self):
        self.note("batch_begin")

    def on_batch_end(self, metrics):
        return self.note("batch_end", float(metrics))

    def on_phase_end(self):
        self.note("phase_end")

    def on_epoch_end(self, metrics):
        return self.note("epoch_end", metrics)

    def on_train_end(self):
        self.note("train_end")


def names(log):
    return [event for event, *_ in log]


BATCHES = ["batch_begin", "batch_end"] * 3


def test_the_order_of_events(learn):
    """Of two epochs of three batches: the phase ends after the last batch, before its epoch, as in fastai 0.7."""
    log = []
    last = learn.fit(0.1, 2, callbacks=[Listener(log)])
    first_epoch = ["epoch_begin", *BATCHES, "epoch_end"]
    second_epoch = ["epoch_begin", *BATCHES, "phase_end", "epoch_end"]
    assert names(log) == ["train_begin", "phase_begin", *first_epoch, *second_epoch, "train_end"]
    assert [news[0] for event, *news in log if event == "batch_end"] == [loss.item() for loss in learn.sched.raw]
    assert [news[0] for event, *news in log if event == "epoch_end"][-1] == last


def test_validation_comes_between_the_phase_and_the_epoch(learn):
    log, forward = [], learn.model.forward
    learn.model.forward = lambda x: log.append(("forward", learn.model.training)) or forward(x)
    learn.fit(0.1, 1, callbacks=[Listener(log)])
    training, validating = names(log)[3:12], log[12:]
    assert training == ["batch_begin", "forward", "batch_end"] * 3
    assert names(validating) == ["phase_end", *["forward"] * 3, "epoch_end", "train_end"]
    assert [news[0] for event, *news in log if event == "forward"] == [True] * 3 + [False] * 3


def test_the_list_of_events_is_that_order(learn):
    log = []
    learn.data.trn_dl.bs = 48  # one batch
    learn.fit(0.1, 1, callbacks=[Listener(log)])
    assert [f"on_{event}" for event in names(log)] == EVENTS


@pytest.mark.parametrize("event", EVENTS)
def test_an_object_may_have_any_of_them(learn, event):
    """What it lacks is skipped; for the low-level `fit` as well."""
    calls = []
    listener = type("Listener", (), {event: lambda self, *news: calls.append(news)})()
    learn.fit(0.1, 2, callbacks=[listener])
    n = {"train": 1, "phase": 1, "epoch": 2, "batch": 6}[event.split("_")[1]]
    assert len(calls) == n
    fit(learn.model, learn.data, 2, torch.optim.SGD(learn.model.parameters(), 0.1), F.nll_loss, callbacks=[listener])
    assert len(calls) == 2 * n


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("batch_end", ["epoch_begin", "batch_begin", "batch_end", "phase_end", "epoch_end", "train_end"]),
        ("epoch_end", ["epoch_begin", *BATCHES, "epoch_end", "train_end"]),
    ],
)
def test_every_listener_hears_of_a_stop(learn, stop, expected):
    logs = [], []
    learn.fit(0.1, 3, callbacks=[Listener(logs[0], stop), Listener(logs[1])])
    for log in logs:
        assert names(log) == ["train_begin", "phase_begin", *expected]


def test_an_error_in_training_is_not_its_end(learn):
    log = []

    class Fails:
        def on_batch_end(self, loss):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn.fit(0.1, 1, callbacks=[Listener(log), Fails()])
    assert names(log)[-1] == "batch_end"
    assert len(learn.sched.raw) == 1


def test_without_a_validation_set_an_epoch_ends_with_nothing(learn):
    log = []
    data = SimpleNamespace(trn_dl=learn.data.trn_dl, val_dl=None)
    fit(learn.model, data, 1, torch.optim.SGD(learn.model.parameters(), 0.1), F.nll_loss, callbacks=[Listener(log)])
    assert ("epoch_end", []) in log


def test_what_can_never_be_called_is_refused(learn):
    before = state(learn.model)
    with pytest.raises(ValueError, match=r"^callbacks hold the class Listener: make an object of it$"):
        learn.fit(0.1, 1, callbacks=[Listener])
    with pytest.raises(ValueError, match=r"^SimpleNamespace is no callback: it has none of .*on_train_begin"):
        learn.fit(0.1, 1, callbacks=[SimpleNamespace(on_batch_ends=print)])
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())


def saved(rows, **options):
    """The epochs at which SaveBest has saved, given [validation loss, metrics…] of each."""
    calls, at = [], []
    best = SaveBest(lambda: calls.append(1), **options)
    for epoch, row in enumerate(rows):
        best.on_epoch_end(list(row))
        at += [epoch] * len(calls)
        calls.clear()
    return at


def test_the_first_metric_decides_not_the_loss():
    assert saved([(1.0, 0.5), (0.5, 0.4), (2.0, 0.6), (0.1, 0.55)]) == [0, 2]


def test_of_equal_metrics_the_lower_loss():
    assert saved([(1.0, 0.5), (0.9, 0.5), (0.95, 0.5), (1.1, 0.5)]) == [0, 1]
    assert saved([(1.0, 0.5), (1.0, 0.5)]) == saved([(1.0,), (1.0,)]) == [0]  # of equal epochs the first


def test_metrics_behind_the_first_decide_nothing():
    nan = float("nan")
    assert saved([(1.0, 0.5, 0.9), (1.0, 0.6, 0.1), (1.0, 0.55, 1.0), (1.0, 0.7, nan, nan)]) == [0, 1, 3]


def test_means_over_batches_that_differ_in_rounding_are_equal():
    assert saved([(1.0, np.float32(0.7)), (2.0, 0.7), (0.5, float(np.nextafter(np.float32(0.7), 0)))]) == [0, 2]


def test_a_metric_that_falls():
    rows = [(1.0, 0.5), (0.5, 0.6), (2.0, 0.4), (1.0, 0.4)]
    assert saved(rows, lower_is_better=True) == [0, 2, 3]
    assert saved(rows) == [0, 1]


def test_nan_is_never_the_best():
    nan = float("nan")
    assert saved([(nan, 0.9), (1.0, nan), (2.0, 0.1), (nan, 0.95)]) == [2]
    assert saved([(nan,), (2.0,), (nan,), (1.0,)]) == [1, 3]
    assert saved([(), ()]) == []


def scripted(*values):
    """A metric that gives these, epoch by epoch, whatever the predictions."""
    coming = iter(values)
    return lambda preds, targs: next(coming)


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        (lower_is_better(scripted(0.5, 0.3, 0.4)), 1),
        (partial(lower_is_better(scripted(0.5, 0.3, 0.4))), 1),
        (scripted(0.5, 0.3, 0.4), 0),  # says nothing: as in fastai 0.7
        (scripted(0.3, 0.5, 0.4), 1),
    ],
)
def test_fit_asks_the_metric_for_its_direction(learn, metric, best):
    learn.fit(0.1, 3, metrics=[metric], best_save_name="best", callbacks=[kept := Kept(learn)])
    learn.load("best")
    assert all(torch.equal(kept.states[best][k], v) for k, v in learn.model.state_dict().items())


class Kept:
    """The weights after each epoch, and its numbers."""

    def __init__(self, learn):
        self.learn, self.states, self.rows = learn, [], []

    def on_epoch_end(self, metrics):
        self.states.append(state(self.learn.model))
        self.rows.append(metrics)


@pytest.mark.parametrize("metric", [F.nll_loss, nn.NLLLoss(), "the loss itself"])
def test_losses_as_metrics_fall(learn, metric):
    """The rate is so high that training gets worse after its best epoch."""
    learn.crit = lambda out, y: F.nll_loss(out, y)
    metric = learn.crit if metric == "the loss itself" else metric
    learn.fit(0.3, 5, metrics=[metric], best_save_name="best", callbacks=[kept := Kept(learn)])
    losses = [row[1] for row in kept.rows]
    best = losses.index(min(losses))
    assert losses[best] < losses[-1] < losses[0]
    learn.load("best")
    assert all(torch.equal(kept.states[best][k], v) for k, v in learn.model.state_dict().items())


def test_exp_rmspe_falls(tmp_path):
    """Of two epochs, the first is better: rate 0, then one that ruins it."""
    x = torch.linspace(0, 1, 20)[:, None]
    data = SimpleNamespace(path=tmp_path, trn_dl=BatchLoader(ArrayDataset(x, x[:, 0] + 1), 5))
    data.val_dl = data.trn_dl
    model = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    learn = Learner(data, model, torch.optim.SGD, F.mse_loss, [exp_rmspe])

    class Ruin:
        def on_epoch_end(self, metrics):
            learn.sched.base = [0.5, 0.5]

    good = state(learn.model)
    learn.fit(0, 2, best_save_name="best", callbacks=[Ruin()])
    learn.load("best")
    assert all(torch.equal(good[k], v) for k, v in learn.model.state_dict().items())
