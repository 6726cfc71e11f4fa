"""The speed comparison: a tiny run of the tool, and what it says when it cannot run."""

import json
import multiprocessing
import os
import statistics
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import picture_folder

from course_utils.core import DEVICE, set_seed
from course_utils.learner import Learner
from tools import ROOT
from tools.bench import __main__ as bench
from tools.bench import fastai, fit, measure, ours, tables, work
from tools.bench.work import Pictures
from tools.report.records import Contender

needs_fastai = pytest.mark.skipif(not (fastai.FOLDER / "fastai").is_dir(), reason="fastai is not in .bench")
KIND = DEVICE.type


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn pictures in two class folders."""
    folder = tmp_path_factory.mktemp("drawn")
    work.draw_pictures(folder, 8)
    return folder


def test_drawn_pictures_are_like_photos(pictures):
    files = work.find_pictures(pictures, 8)
    assert {file.parent.name for file in files} == {"even", "odd"}
    assert all(10_000 < file.stat().st_size < 60_000 for file in files)
    sizes = set()
    for file in files:
        with Image.open(file) as im:
            sizes.add(im.size)
    assert {min(size) for size in sizes} == {256}
    assert len(sizes) > 4


@pytest.fixture
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fastai contender appends to sys.path goes away after the test."""
    monkeypatch.setattr(sys, "path", sys.path.copy())


LOADERS = [ours.picture_loader, ours.torchvision_loader, pytest.param(fastai.picture_loader, marks=needs_fastai)]


@pytest.mark.usefixtures("own_path")
@pytest.mark.parametrize("loader", LOADERS)
def test_contenders_hand_out_the_same_work(loader, pictures):
    """Every picture once, 224 px, normalised: mean and spread near those of the files."""
    batches = list(loader(Pictures(work.find_pictures(pictures, 8), 4)))
    assert [tuple(x.shape) for x, _ in batches] == [(4, 3, work.SZ, work.SZ)] * 2
    assert torch.cat([torch.as_tensor(y) for _, y in batches]).bincount().tolist() == [4, 4]
    x = torch.cat([torch.Tensor(x) for x, _ in batches]).cpu()
    assert abs(float(x.mean())) < 0.6
    assert 0.4 < float(x.std()) < 1.6


def test_a_walk_hands_out_each_batch_after_one_of_another_loader(pictures):
    made: list[int] = []

    def loader(source):
        made.append(len(source.files))
        return [(torch.zeros(2), 0)]

    epoch = work.walk(loader, Pictures(work.find_pictures(pictures, 8), 2))
    epoch()
    epoch()
    assert made == [2, 8]


def test_tiny_run_writes_the_records(pictures, tmp_path, capsys):
    options = ["--count", "8", "--bs", "4", "--rounds", "1", "--only", "course_utils"]
    assert bench.main(["pictures", "--path", str(pictures), *options, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / f"bench-pictures.{KIND}.json").read_text("utf-8"))
    assert {"device", "versions", "commit", "started", "cores", "size"} < set(record)
    assert (record["pictures"], record["target"], record["target_first"]) == (8, 4.0, 2.5)
    found = record["epoch"]["course_utils"]
    ([first, *later],) = found["rounds"]
    assert len(later) == 3
    assert len(found["busy_percent"]) == 1
    assert found["first"] == first > 0
    assert found["later"] == round(statistics.median(later), 4)
    cost = json.loads((tmp_path / f"bench-fit.{KIND}.json").read_text("utf-8"))
    assert {name: len(row["rounds"][0]) for name, row in cost["epoch"].items()} == {"course_utils": 6, "plain": 6}
    printed = capsys.readouterr().out
    assert "course_utils: first epoch" in printed
    assert "Learner.fit" in printed


def test_medians_are_of_first_and_of_later_epochs():
    found = measure.contender([[9, 1, 2], [7, 3, 4], [8, 5, 60]])
    assert (found.first, found.later) == (8, 3.5)


def test_ratios_say_how_many_times_as_fast_as_fastai():
    rows = {"course_utils": [[2.0, 1.0, 0.5]], "fastai": [[3.0, 2.0, 1.0]]}
    epoch = {name: measure.contender(rounds) for name, rounds in rows.items()}
    speed = bench.Speed(**measure.made(), size="sample", epoch=epoch, target=1.3)
    assert "first 1.50x, later 2.00x as fast as fastai\ntarget 1.3x" in bench.report("cifar10", speed)


@pytest.mark.parametrize(("busy", "said"), [([3.0, 9.0], ""), ([3.0, 42.0], "other processes kept 42 %")])
def test_a_busy_machine_is_told(busy, said):
    assert measure.busy_warning({"fastai": Contender(1, 1, [[1]], busy)}).startswith(said)
    assert bool(measure.busy_warning({"fastai": Contender(1, 1, [[1]], busy)})) is bool(said)


def test_workers_of_a_contender_start_as_they_do_here():
    assert measure.apart(multiprocessing.get_start_method) == multiprocessing.get_start_method()


def test_what_is_timed_prints_nothing(capsys):
    assert measure.timed(lambda: print("epoch 1")) >= 0
    assert capsys.readouterr().out == ""


def test_bare_fit_trains_like_fit():
    """Both loops take the same steps: one epoch in one batch gives the same weights."""
    torch.manual_seed(0)
    x, y = fit.noise(8)
    data = fit.ImageClassifierData.from_arrays(".", (x, y), (x[:2], y[:2]), bs=8)
    nets = [fit.small_net(), fit.small_net()]
    nets[1].load_state_dict(nets[0].state_dict())
    Learner(data, nets[0], crit=torch.nn.functional.nll_loss).fit(0.1, 1)
    nets[1].to(DEVICE).to(memory_format=torch.channels_last)
    fit.bare_fit(nets[1], (x, y), (x[:2], y[:2]), bs=8, lr=0.1)()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("command", ["pictures", "epochs"])
def test_fastai_missing_says_how_to_install_it(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fastai, "FOLDER", tmp_path / ".bench")
    assert bench.main([command, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.startswith("bench: fastai is not in .bench: ")
    assert "pip install --target .bench --no-deps" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_too_few_pictures(pictures, tmp_path, capsys):
    options = ["--only", "course_utils", "--out", str(tmp_path)]
    assert bench.main(["pictures", "--path", str(pictures), "--count", "9", *options]) == 2
    expected = f"bench: {pictures} holds 8 .jpg files: ask for that many with --count\n"
    assert capsys.readouterr().err == expected


def test_epochs_are_measured_and_written(monkeypatch, tmp_path, capsys):
    def apart(function, make, source, epochs):
        assert (function, epochs) == (measure.seconds, 3)
        return [3.0, 2.0, 1.0] if "fastai" in make.__module__ else [2.0, 1.0, 0.5]

    monkeypatch.setattr(fastai, "need", lambda: None)
    monkeypatch.setattr(bench, "get_data", lambda name, size: picture_folder(tmp_path / "data"))
    monkeypatch.setattr(measure, "apart", apart)
    monkeypatch.setattr(measure.psutil, "cpu_percent", lambda interval: 0.0)
    assert bench.main(["epochs", "--out", str(tmp_path), "--only", "cifar10", "rossmann"]) == 0
    records = [
        json.loads((tmp_path / f"bench-{name}.{KIND}.json").read_text("utf-8")) for name in ("cifar10", "rossmann")
    ]
    for record in records:
        found = record["epoch"]["course_utils"]
        assert (found["first"], found["later"], found["rounds"]) == (2.0, 0.75, [[2.0, 1.0, 0.5]] * 3)
    assert [record["data"] is None for record in records] == [False, True]
    assert set(records[1]["epoch"]) == {"course_utils", "plain", "fastai"}
    assert capsys.readouterr().out.count("first 1.50x, later 2.00x as fast as fastai") == 2


def test_the_epoch_trains_the_network_of_the_notebook(tmp_path):
    folder = picture_folder(tmp_path, n_test=0)
    (folder / "valid").rename(folder / "test")
    _, acc = ours.cifar10(folder)()
    assert 0 <= acc <= 1
    assert sum(p.numel() for p in work.resnet2().parameters()) == 1_966_234


def test_the_stateful_lstm_is_that_of_the_notebook(monkeypatch):
    monkeypatch.setattr(work, "CHARS", work.Streams(6_000, 84, 64, 8))
    learn = ours._stateful_learner()
    mine, theirs = learn.model, fastai.BatchFirstLSTM(learn.data.nt, 42, work.N_HIDDEN, 2)
    assert [p.shape for p in mine.rnn.parameters()] == [p.shape for p in theirs.rnn.parameters()]
    assert sum(p.numel() for p in mine.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_the_language_model_reads_random_words(monkeypatch):
    monkeypatch.setattr(work, "WORDS", work.Streams(2_000, 50, 4, 10))
    (loss,) = ours.awd_lstm(None)()
    assert 0 < loss < 10


def test_the_bare_loop_trains_as_fit_does(monkeypatch):
    """Same seed, same steps: the same weights, so that their times compare."""
    monkeypatch.setattr(work, "ROWS", 400)
    monkeypatch.setattr(work, "VALID", 50)
    weights = []
    for start in (lambda learn: learn.fit(1e-3, 1), lambda learn: ours.bare_loop(learn)()):
        set_seed(0)
        learn = ours._rossmann_learner()
        start(learn)
        weights.append(learn.model.state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    widths = [p.shape for p in learn.model.hidden.parameters() if p.ndim == 2]
    assert widths == [(1000, 217), (500, 1000)]  # as in the video


@needs_fastai
@pytest.mark.usefixtures("own_path")
@pytest.mark.parametrize("make", [fastai.rossmann, fastai.awd_lstm, fastai.stateful_lstm])
def test_fastai_trains_an_epoch(make, monkeypatch):
    monkeypatch.setattr(work, "ROWS", 400)
    monkeypatch.setattr(work, "VALID", 50)
    monkeypatch.setattr(work, "WORDS", work.Streams(2_000, 50, 4, 10))
    monkeypatch.setattr(work, "CHARS", work.Streams(6_000, 84, 64, 8))
    assert measure.seconds(make, None, 1)[0] > 0


def test_tables_are_measured_and_equal_the_loop(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "apart", lambda function, size: function(size))
    monkeypatch.setenv("COURSE_RESULTS", "")  # as it was, after the cells have run here
    assert bench.main(["tables", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "bench-tables.json").read_text("utf-8"))
    lesson = json.loads((ROOT / "results" / "lesson3-rossmann.sample.cpu.json").read_text("utf-8"))["stages"]
    assert {"name": "rows to train on", "value": record["rows"]}.items() <= lesson[0].items()
    assert set(record["elapsed"]) == {"whole_columns", "loop"}
    assert capsys.readouterr().out.count("limit") == 2


def test_a_wrong_count_of_days_is_told(monkeypatch):
    monkeypatch.setenv("COURSE_RESULTS", "")
    names, _ = tables.prepare("sample")
    one_more = lambda df, fld, pre: df.__setitem__(pre + fld, 1)
    monkeypatch.setattr(tables, "get_elapsed", one_more)
    with pytest.raises(ValueError, match="disagree about SchoolHoliday"):
        tables.elapsed(names)


def test_nothing_is_kept_from_one_round_to_the_next(monkeypatch, tmp_path):
    """Unless COURSE_WORK is set: then rounds after the first find what that one kept."""
    seen = []

    def make(source):
        seen.append(Path(os.environ["COURSE_WORK"]))
        assert seen[-1].is_dir()
        return lambda: None

    monkeypatch.delenv("COURSE_WORK", raising=False)
    for _ in range(2):
        measure.seconds(make, None, 1)
    assert "COURSE_WORK" not in os.environ
    assert seen[0] != seen[1]
    assert not any(folder.exists() for folder in seen)
    monkeypatch.setenv("COURSE_WORK", str(tmp_path))
    measure.seconds(make, None, 1)
    assert seen[2] == tmp_path
