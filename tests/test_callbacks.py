"""What listens to `fit`."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp, state

from course_utils import training
from course_utils.learner import Learner, validate
from course_utils.metrics import accuracy
from course_utils.schedule import Callback


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """float32 on a GPU too: several tests compare bit for bit."""
    monkeypatch.setattr(training, "autocast", nullcontext)


@pytest.fixture
def learn(tmp_path):
    return Learner(array_data(tmp_path), mlp(), crit=F.nll_loss, metrics=[accuracy])


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
