from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp, moved, state
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_utils import files
from course_utils.core import DEVICE, set_seed, to_device
from course_utils.learner import Learner, _of_length, load_model, predict_with_targs, save_model
from course_utils.metrics import accuracy
from course_utils.schedule import Callback

pytestmark = pytest.mark.usefixtures("exact")  # several tests compare bit for bit


@pytest.mark.parametrize(("n", "expected"), [(-1, {2}), (1, {1, 2}), (0, {0, 1, 2})])
def test_only_groups_not_frozen_move(learn, n, expected):
    learn.freeze_to(n)
    before = state(learn.model)
    learn.fit(0.1, 1)
    assert moved(before, learn.model.state_dict()) == expected


def test_sgdr_epochs_and_rates(learn):
    learn.fit(0.1, 3, cycle_len=1, cycle_mult=2)
    assert len(learn.sched.val_losses) == 7
    lrs = np.array(learn.sched.lrs)
    nb = len(learn.data.trn_dl)
    assert len(lrs) == 7 * nb
    assert [lrs[i * nb] for i in (1, 3)] == [0.1, 0.1]


def test_clr_arguments_reach_the_schedule(learn):
    learn.fit(0.1, 1, cycle_len=4, use_clr=(10, 4))
    assert learn.sched.lrs[0] == pytest.approx(0.01)
    assert max(learn.sched.lrs) == pytest.approx(0.1)
    learn.fit(0.1, 1, cycle_len=4, use_clr_beta=(10, 10, 0.95, 0.85))
    assert learn.sched.opt.param_groups[0]["momentum"] == pytest.approx(0.95, abs=0.01)


def test_lr_find_leaves_weights_and_statistics(learn):
    before = state(learn.model)
    learn.lr_find(num_it=30)
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())
    assert learn.sched.lrs[0] == pytest.approx(1e-5)
    assert learn.sched.lrs[-1] > 1e-2


def test_lr_find_runs_to_the_end_rate(learn):
    learn.lr_find(1e-6, 1e-4, num_it=30)
    assert len(learn.sched.lrs) == 30
    assert learn.sched.lrs[-1] == pytest.approx(1e-6 * 100 ** (29 / 30))


@pytest.mark.parametrize(("bs", "passes", "n_batches"), [(16, 1, 40), (16, 1.3, 40), (90, 1, 40), (2, 2.5, 60)])
def test_lr_find_takes_an_epoch_or_num_it_batches(learn, bs, passes, n_batches):
    """48 rows: 3, 4, 1 and 60 batches an epoch."""
    learn.data.trn_dl.bs, learn.data.trn_dl.passes = bs, passes
    learn.lr_find(1e-6, 1e-4, num_it=40)
    assert len(learn.sched.lrs) == n_batches
    assert learn.data.trn_dl.passes == passes


def test_same_seed_same_numbers(tmp_path):
    results = []
    for _ in range(2):
        set_seed(11)
        learn = Learner(array_data(tmp_path), mlp(), crit=F.nll_loss)
        learn.model.insert(1, nn.Dropout(0.3))
        results.append((learn.fit(0.1, 3, cycle_len=1), learn.sched.losses.tolist()))
    assert results[0] == results[1]


def test_resume_after_save_and_load_is_exact(learn, tmp_path):
    learn.fit(0.1, 2)
    learn.save("half")
    set_seed(1)
    on = learn.fit(0.05, 2)
    other = Learner(array_data(tmp_path), mlp(), crit=F.nll_loss, metrics=[accuracy])
    other.load("half")
    set_seed(1)
    assert other.fit(0.05, 2) == on


def test_load_names_what_is_saved(learn):
    learn.save("one")
    with pytest.raises(FileNotFoundError, match=r"two\.pt: not saved yet \(saved here: one\)$"):
        learn.load("two")
    learn.save("another")
    with pytest.raises(FileNotFoundError, match=r"two\.pt: not saved yet \(saved here: another, one\)$"):
        learn.load("two")


def test_where_nothing_is_saved_it_says_so(learn):
    with pytest.raises(FileNotFoundError, match=r"one\.pt: not saved yet \(saved here: nothing\)$"):
        learn.load("one")


def test_cycles_are_saved_at_their_ends(learn):
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, metrics):
            kept.append(state(learn.model))

    learn.fit(0.1, 2, cycle_len=1, cycle_mult=2, cycle_save_name="c", callbacks=[Keep()])
    for cycle, epoch in ((1, 2), (0, 0)):
        learn.load_cycle("c", cycle)
        assert all(torch.equal(kept[epoch][k], v) for k, v in learn.model.state_dict().items())


def test_clip_bounds_the_gradient(learn):
    learn.clip, learn.opt_fn = 1e-3, torch.optim.SGD
    before = state(learn.model)
    learn.data.trn_dl.bs = len(learn.data.trn_ds)
    learn.fit(1.0, 1)
    step = sum(((learn.model.state_dict()[k] - before[k]) ** 2).sum() for k, _ in learn.model.named_parameters())
    assert step.sqrt().item() == pytest.approx(1e-3, rel=1e-3)


def test_predictions(learn):
    learn.fit(0.1, 1)
    log_preds, y = learn.predict_with_targs()
    assert (log_preds.shape, y.shape) == ((48, 3), (48,))
    np.testing.assert_allclose(np.exp(log_preds).sum(1), 1, rtol=1e-5)
    x = learn.data.val_ds.arrays[0]
    np.testing.assert_allclose(learn.predict_array(x.numpy()), log_preds, atol=1e-6)
    np.testing.assert_allclose(learn.predict_dl(learn.data.val_dl), log_preds)
    assert learn.predict(is_test=True).shape == (5, 3)


def test_summary_lists_layers(learn):
    learn.freeze()
    text = str(learn.summary())
    assert "BatchNorm1d" in text
    assert f"{sum(p.numel() for p in learn.model.parameters()):,}" in text


def test_summary_goes_two_levels_down_unless_told_otherwise(tmp_path):
    learn = Learner(array_data(tmp_path), nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(10, 3), nn.ReLU()))))
    one, two, three = (str(learn.summary(depth)) for depth in (1, 2, 3))
    assert str(learn.summary()) == two
    assert len({one, two, three}) == 3
    assert "ReLU" in three
    assert "ReLU" not in two


@pytest.mark.parametrize("is_test", [False, True])
def test_tta_puts_the_plain_predictions_first_then_those_of_augmented_pictures(learn, is_test):
    """One plain pass in four, rounded up. The augmented loaders here hand out other numbers in their place."""
    for name in ("aug_dl", "test_aug_dl"):
        plain = learn.data.test_dl if name == "test_aug_dl" else learn.data.val_dl
        setattr(learn.data, name, [(10 * x, y) for x, y in plain])
    learn.fit(0.1, 1)
    expected, y = learn.predict_with_targs(is_test)
    augmented = learn.predict_dl(learn.data.test_aug_dl if is_test else learn.data.aug_dl)
    assert not np.allclose(expected, augmented)
    for given, n_plain, n_aug in (((), 1, 4), ((3,), 1, 3), ((4,), 1, 4), ((5,), 2, 5), ((0,), 1, 0)):
        preds, targs = learn.TTA(*given, is_test=is_test)
        np.testing.assert_allclose(preds, [expected] * n_plain + [augmented] * n_aug, rtol=1e-5)
        np.testing.assert_array_equal(targs, y)


@pytest.mark.parametrize(
    ("lrs", "message"),
    [([1, 2], "2 rates for 3 layer groups: give one number or 3"), (-0.1, "not negative"), (float("nan"), "finite")],
)
def test_bad_rates(learn, lrs, message):
    with pytest.raises(ValueError, match=message):
        learn.fit(lrs, 1)


def test_bad_settings(learn):
    with pytest.raises(ValueError, match="2 wds for 3 layer groups"):
        learn.fit(0.1, 1, wds=[0.1, 0.2])
    with pytest.raises(ValueError, match="whole numbers of 1 or more"):
        learn.fit(0.1, 0)
    with pytest.raises(ValueError, match="there are 3 layer groups"):
        learn.freeze_to(7)
    learn.model.requires_grad_(False)
    with pytest.raises(ValueError, match="every layer group is frozen"):
        learn.fit(0.1, 1)


def test_clip_leaves_out_the_old_gradients_of_frozen_groups(learn):
    learn.opt_fn = torch.optim.SGD
    learn.fit(0.1, 1)
    for p in learn.model.parameters():
        p.grad = torch.full_like(p, 1e3)
    learn.freeze()
    test_clip_bounds_the_gradient(learn)


def test_parameters_outside_the_children_are_trained(tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.scale = mlp(), nn.Parameter(torch.ones(1))

        def forward(self, x):
            return (self.net(x) * self.scale).log_softmax(1)

    for model in (Scaled(), nn.Linear(10, 3)):
        learn = Learner(array_data(tmp_path), model, crit=F.cross_entropy)
        before = next(model.parameters()).detach().clone()
        learn.fit(0.1, 1)
        assert not torch.equal(before, next(model.parameters()))


def test_save_cycle(learn):
    learn.save_cycle("c", 3)
    before = state(learn.model)
    learn.fit(0.1, 1)
    learn.load_cycle("c", 3)
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())
    assert (learn.data.path / "models/c_cyc_3.pt").exists()


def test_lr_find_leaves_frozen_groups_frozen_and_refuses_bad_ranges(learn):
    learn.freeze_to(1)
    before = state(learn.model)
    learn.lr_find(num_it=20)
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())
    assert [p.requires_grad for p in learn.model.parameters()] == [False] * 4 + [True] * 6
    for lrs in ((0, 1), (1, 0.1)):
        with pytest.raises(ValueError, match="lr_find needs 0 < start_lr < end_lr"):
            learn.lr_find(*lrs)


def test_data_without_a_test_set_says_so(learn):
    del learn.data.test_dl
    with pytest.raises(ValueError, match="the data has no test_dl: name the test set"):
        learn.predict(is_test=True)


def test_no_zero_length_cycle(learn):
    with pytest.raises(ValueError, match="whole numbers of 1 or more"):
        learn.fit(0.1, 1, cycle_len=0)


def test_saved_weights_come_back(tmp_path):
    model, other = mlp(), mlp()
    nn.init.zeros_(other[0][0].weight)
    save_model(model, tmp_path / "new" / "weights")
    load_model(other, str(tmp_path / "new" / "weights"))
    assert torch.equal(other[0][0].weight, model[0][0].weight)
    assert [file.name for file in sorted((tmp_path / "new").iterdir())] == ["weights"]


def test_weights_of_another_network_are_refused_and_change_nothing(learn, tmp_path):
    """torch copies what fits before it raises."""
    wider = mlp(7)
    nn.init.ones_(wider[0][0].bias)
    save_model(wider, tmp_path / "wider.pt")
    before = state(learn.model)
    with pytest.raises(
        ValueError, match=r"wider\.pt: weights of another network: 2\.0\.weight is \(7, 16\), not \(3, 16\)$"
    ) as e:
        load_model(learn.model, tmp_path / "wider.pt")
    assert "\n" not in str(e.value)
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())


@pytest.mark.parametrize("what", [[torch.ones(3)], {"epoch": 3}, torch.ones(3), {"model": {"a": torch.ones(3)}}])
def test_other_things_that_torch_has_saved_are_no_weights(learn, tmp_path, what):
    torch.save(what, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt: not a file that save_model wrote; save it again, or copy it again"):
        load_model(learn.model, tmp_path / "bad.pt")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "../models2/x"])
@pytest.mark.parametrize("call", [Learner.save, Learner.load, partial(Learner.save_cycle, cycle=0)])
def test_no_name_leads_out_of_models(tmp_path, name, call):
    learn = Learner(array_data(tmp_path / "data"), mlp(), crit=F.nll_loss)
    with pytest.raises(ValueError, match=r"is no name inside .*models: it must not lead out of it$"):
        call(learn, name)
    assert list(tmp_path.rglob("*.pt")) == []


def test_a_name_may_have_folders(learn):
    learn.save("a/b/../c")
    assert [file.relative_to(learn.data.path).as_posix() for file in learn.data.path.rglob("*.pt")] == ["models/a/c.pt"]
    learn.load("a/c")


def test_weights_of_the_places_of_earlier_versions_are_found(learn, monkeypatch):
    """Also when they are listed."""
    path = learn.data.path
    monkeypatch.setattr(files, "ROOT", path)
    for place in (path, path / ".runs" / "work" / files.place_name(path)):
        save_model(learn.model, place / "models" / "old.pt")
        other = Learner(array_data(path), mlp(), crit=F.nll_loss)
        nn.init.ones_(other.model[0][0].weight)
        monkeypatch.setenv("COURSE_WORK", str(path / "elsewhere"))
        other.load("old")
        assert torch.equal(other.model[0][0].weight, learn.model[0][0].weight)
        with pytest.raises(FileNotFoundError, match=r"elsewhere.*new\.pt: not saved yet \(saved here: old\)$"):
            other.load("new")
        (place / "models" / "old.pt").unlink()


@pytest.mark.parametrize("content", [b"", b"not weights", None])
def test_a_file_that_is_no_file_of_weights_is_named(learn, tmp_path, content):
    file = tmp_path / "bad.pt"
    save_model(learn.model, file)
    file.write_bytes(file.read_bytes()[:500] if content is None else content)
    with pytest.raises(ValueError, match=r"bad\.pt: not a file that save_model wrote, or damaged since; save it again"):
        load_model(learn.model, file)


def test_plots_before_training_say_what_to_call(learn):
    with pytest.raises(RuntimeError, match="call fit or lr_find first"):
        learn.sched.plot()


def test_a_file_of_anything_but_weights_runs_no_code(learn, tmp_path):
    """What pickle would call while it reads: torch's weights_only refuses it."""
    made = tmp_path / "made"

    class Call:
        def __reduce__(self):
            return open, (str(made), "w")

    torch.save({"0.0.weight": Call()}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt: not a file that save_model wrote"):
        load_model(learn.model, tmp_path / "bad.pt")
    assert not made.exists()


@pytest.mark.parametrize("mult", [1, 2])
@pytest.mark.parametrize(("name", "numbers"), [("use_clr", (10, 3)), ("use_clr_beta", (10, 20, 0.95, 0.85))])
def test_triangles_end_with_the_cycles(learn, name, numbers, mult):
    """Every cycle starts low and is saved where its triangle ends: lowest rate, then the next begins."""
    ends = []

    class Watch(Callback):
        def on_batch_end(self, loss):
            ends.append(learn.sched.cycle)

    learn.fit(0.1, 3, cycle_len=2, cycle_mult=mult, callbacks=[Watch()], **{name: numbers})
    lrs, cycles = np.array(learn.sched.lrs), np.array([0, *ends[:-1]])  # of each batch
    lengths = [6 * mult**k for k in range(3)]
    assert cycles.tolist() == np.repeat(range(3), lengths).tolist()
    for k, length in enumerate(lengths):
        rates = lrs[cycles == k]
        assert rates[0] == pytest.approx(0.01)
        assert rates.max() > 0.08
        assert rates[-1] < rates[-2] < rates.max()
        assert (np.diff(rates) > 0).sum() == rates.argmax()  # one way up, one way down
        assert len(rates) == length


@pytest.mark.parametrize("name", ["use_clr", "use_clr_beta"])
@pytest.mark.parametrize("numbers", [(), (10,), 10, (10, 4, 0.95), [10, 4, 0.95, 0.85, 1]])
def test_clr_takes_two_or_four_numbers(learn, name, numbers):
    with pytest.raises(ValueError, match=rf"^{name} is \(div, \w+\), or four numbers with the highest") as e:
        learn.fit(0.1, 1, cycle_len=1, **{name: numbers})
    assert "\n" not in str(e.value)
    with pytest.raises(RuntimeError, match="call fit or lr_find first"):
        print(learn.sched)  # a refused call changes nothing


def test_one_kind_of_clr_at_a_time(learn):
    with pytest.raises(ValueError, match="use_clr and use_clr_beta: give one of them"):
        learn.fit(0.1, 1, use_clr=(10, 4), use_clr_beta=(10, 10))


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"n_cycle": 1.5}, "n_cycle is 1.5"), ({"n_cycle": 1, "cycle_len": 1.5}, "cycle_len is 1.5"),
     ({"n_cycle": 1, "cycle_mult": 0}, "cycle_mult is 0"), ({"n_cycle": float("nan")}, "n_cycle is nan")],
)  # fmt: skip
def test_numbers_of_cycles_are_whole(learn, settings, said):
    with pytest.raises(ValueError, match=rf"whole numbers of 1 or more: {said}$"):
        learn.fit(0.1, **settings)


def test_whole_numbers_may_be_floats(learn):
    learn.fit(0.1, 2.0, cycle_len=1.0, cycle_mult=2.0)
    assert len(learn.sched.val_losses) == 3


@pytest.mark.parametrize("n", [3, -4, 7, 0.5])
def test_a_refused_freeze_changes_nothing(learn, n):
    learn.freeze_to(1)
    before = [(p.requires_grad) for p in learn.model.parameters()]
    marks = [m.trainable for m in learn.model.modules() if hasattr(m, "trainable")]
    with pytest.raises(ValueError, match=rf"freeze_to\({n}\): there are 3 layer groups"):
        learn.freeze_to(n)
    assert [p.requires_grad for p in learn.model.parameters()] == before
    assert [m.trainable for m in learn.model.modules() if hasattr(m, "trainable")] == marks


def test_predictions_of_a_loader_that_shuffles_are_refused(learn):
    """Whose they are, nobody could tell."""
    theirs = TensorDataset(*learn.data.trn_ds.arrays)
    for dl in (learn.data.trn_dl, DataLoader(theirs, 16, shuffle=True)):
        with pytest.raises(ValueError, match=r"^predict_dl of a loader that shuffles: take one in order, such as"):
            learn.predict_dl(dl)
    expected = predict_with_targs(learn.model, learn.data.fix_dl)[0]
    for dl in (learn.data.fix_dl, DataLoader(theirs, 16)):
        np.testing.assert_allclose(learn.predict_dl(dl), expected)


def test_a_network_with_filters_of_three_axes_trains(tmp_path):
    x, y = torch.randn(16, 1, 4, 6, 6), torch.arange(16) % 2
    net = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2), nn.LogSoftmax(1))
    data = SimpleNamespace(path=tmp_path, trn_dl=DataLoader(TensorDataset(x, y), 8), val_dl=None)
    learn = Learner(data, net, crit=F.nll_loss)
    before = net[0].weight.detach().clone()
    learn.fit(0.1, 1)
    assert not torch.equal(before, net[0].weight)


def test_filters_of_pictures_have_their_channels_last():
    conv = Learner(None, nn.Conv2d(3, 8, 3)).model
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_learner_without_a_loss_says_so(learn):
    learn.crit = None
    for train in (lambda: learn.fit(0.1, 1), learn.lr_find):
        with pytest.raises(ValueError, match="the Learner has no loss: make it with crit="):
            train()


@pytest.mark.parametrize("n", [1, 3, 4, 7, 10])
def test_a_loader_of_any_length_begins_again_where_it_ends(n):
    """PyTorch's, or a list of batches."""
    batches = [f"batch {i}" for i in range(3)]
    longer = _of_length(batches, n)
    assert len(longer) == max(n, 3)
    assert [*longer] == (batches * 4)[: max(n, 3)]
    assert [*longer] == [*longer]


def test_a_loader_without_a_length_is_refused(tmp_path):
    data = SimpleNamespace(path=tmp_path, trn_dl=(batch for batch in ()), val_dl=None)
    learn = Learner(data, mlp(), crit=F.nll_loss)
    for train in (lambda: learn.fit(0.1, 1), learn.lr_find):
        with pytest.raises(ValueError, match=r"^trn_dl has no length, by which the rates are planned$"):
            train()


@pytest.mark.parametrize("shift", [0, 10])
def test_lr_find_goes_on_while_a_loss_below_0_does_not_rise(learn, shift):
    learn.crit = lambda out, y: F.nll_loss(out, y) - shift
    learn.lr_find(1e-6, 1e-3, num_it=60)
    assert len(learn.sched.raw) == 60


def test_lr_find_interrupted_leaves_the_weights(learn):
    """Also the statistics; and the loaders as long as they were."""
    before, passes, forward = state(learn.model), learn.data.trn_dl.passes, learn.model.forward
    calls = []

    def fails_at_the_tenth(x):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return forward(x)

    learn.model.forward = fails_at_the_tenth
    with pytest.raises(KeyboardInterrupt):
        learn.lr_find()
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())
    assert learn.data.trn_dl.passes == passes
    assert (len(learn.sched.lrs), len(learn.sched.raw)) == (10, 9)
    learn.sched.plot()


def test_validation_loss_with_class_weights_is_that_of_the_set(learn):
    crit = partial(F.nll_loss, weight=torch.tensor([1.0, 10.0, 0.5], device=DEVICE))
    learn.crit = crit
    learn.data.val_dl.bs = 7
    loss = learn.fit(0.01, 1)[0]
    log_preds, y = (to_device(torch.from_numpy(a)) for a in learn.predict_with_targs())
    assert loss == pytest.approx(crit(log_preds, y).item(), rel=1e-6)
