"""The speed comparison: a tiny run of the tool, and what it says when it cannot run."""

import json
import multiprocessing
import statistics
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import picture_folder

from tools import bench_epochs, bench_tables
from tools import bench_images as bench

CONTENDERS = [
    pytest.param(name, marks=pytest.mark.skipif(not (bench.BENCH / name).is_dir(), reason="not in .bench"))
    if name == "fastai"
    else name
    for name in bench.CONTENDERS
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn pictures in two class folders."""
    folder = tmp_path_factory.mktemp("drawn")
    bench.draw_pictures(folder, 8)
    return folder


def test_drawn_pictures_are_like_photos(pictures):
    files = bench.find_pictures(pictures, 8)
    assert {file.parent.name for file in files} == {"even", "odd"}
    assert all(min(Image.open(file).size) == 256 for file in files)
    assert all(10_000 < file.stat().st_size < 60_000 for file in files)
    assert len({Image.open(file).size for file in files}) > 4


@pytest.fixture
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fastai contender appends to sys.path goes away after the test."""
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.mark.usefixtures("own_path")
@pytest.mark.parametrize("name", CONTENDERS)
def test_contenders_hand_out_the_same_work(name, pictures):
    """Every picture once, 224 px, normalised: mean and spread near those of the files."""
    files = bench.find_pictures(pictures, 8)
    batches = list(bench.CONTENDERS[name](files, 4))
    assert [tuple(x.shape) for x, _ in batches] == [(4, 3, bench.SZ, bench.SZ)] * 2
    assert torch.cat([torch.as_tensor(y) for _, y in batches]).bincount().tolist() == [4, 4]
    x = torch.cat([torch.Tensor(x) for x, _ in batches]).cpu()
    assert abs(float(x.mean())) < 0.6
    assert 0.4 < float(x.std()) < 1.6


def test_tiny_run_writes_the_record(pictures, tmp_path, capsys):
    out = tmp_path / "bench.json"
    options = ["--count", "8", "--bs", "4", "--rounds", "1", "--only", "course_utils"]
    assert bench.main(["--path", str(pictures), *options, "--out", str(out)]) == 0
    record = json.loads(out.read_text("utf-8"))
    assert {"pictures", "sz", "bs", "loaders", "fit", "targets", "device", "versions"} < set(record)
    assert {"cores", "commit", "started"} < set(record)
    loader = record["loaders"]["course_utils"]
    [rates] = loader["rounds"]
    assert len(rates) == bench.EPOCHS
    assert len(loader["busy_percent"]) == 1
    assert loader["first"] == rates[0] > 0
    assert loader["later"] == round(statistics.median(rates[1:]), 1)
    assert set(record["fit"]) == {"fit", "plain", "overhead_percent", "seconds"}
    assert "course_utils" in capsys.readouterr().out


def test_ratios_are_to_fastai():
    loaders = {"course_utils": {"first": 5.0, "later": 9.0}, "fastai": {"first": 2.0, "later": 2.0}}
    bench.add_ratios(loaders)
    assert loaders["course_utils"]["ratio"] == {"first": 2.5, "later": 4.5}
    assert loaders["fastai"]["ratio"] == {"first": 1.0, "later": 1.0}


def test_workers_of_a_contender_start_as_they_do_here():
    assert bench.apart(multiprocessing.get_start_method) == multiprocessing.get_start_method()


def test_plain_loop_trains_like_fit():
    """Both loops take the same steps: one epoch in one batch gives the same weights."""
    torch.manual_seed(0)
    data = bench.tensor_data(8, 8)
    nets = [bench.small_net(), bench.small_net()]
    nets[1].load_state_dict(nets[0].state_dict())
    bench.Learner(data, nets[0], crit=torch.nn.functional.nll_loss).fit(0.1, 1)
    nets[1].to(bench.DEVICE, memory_format=torch.channels_last)
    bench.plain_epoch(nets[1], bench.plain_optimizer(nets[1], 0.1), data)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_fastai_missing_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "BENCH", tmp_path / ".bench")
    assert bench.main(["--out", str(tmp_path / "x.json")]) == 2
    line = capsys.readouterr().err
    assert line.startswith("bench_images: fastai is not in .bench: ")
    assert "pip install --target .bench --no-deps" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


def test_too_few_pictures(pictures, tmp_path, capsys):
    options = ["--only", "course_utils", "--out", str(tmp_path / "x.json")]
    assert bench.main(["--path", str(pictures), "--count", "9", *options]) == 2
    expected = f"bench_images: {pictures} holds 8 .jpg files: ask for that many with --count\n"
    assert capsys.readouterr().err == expected


@pytest.fixture
def fastai_there(monkeypatch, tmp_path):
    monkeypatch.setattr(bench_epochs, "BENCH", tmp_path)
    (tmp_path / "fastai").mkdir()


@pytest.mark.usefixtures("fastai_there")
def test_epochs_are_measured_and_written(monkeypatch, tmp_path, capsys):
    def apart(function, task, name, path):
        return [3.0, 2.0, 1.0] if name == "fastai" else [2.0, 1.0, 0.5]

    monkeypatch.setattr(bench_epochs, "get_data", lambda name, size: picture_folder(tmp_path / "data"))
    monkeypatch.setattr(bench_epochs, "apart", apart)
    assert bench_epochs.main(["--out", str(tmp_path), "--only", "cifar10", "rossmann"]) == 0
    kind = bench_epochs.DEVICE.type
    records = [json.loads((tmp_path / f"bench-{n}.{kind}.json").read_text("utf-8")) for n in ("cifar10", "rossmann")]
    for record in records:
        assert record["epoch"]["course_utils"] == {"first": 2.0, "later": 0.75, "rounds": [[2.0, 1.0, 0.5]] * 3}
    assert [record["data"] is None for record in records] == [False, True]
    assert set(records[1]["epoch"]) == {"course_utils", "plain", "fastai"}
    assert capsys.readouterr().out.count("first 1.50x later 2.00x as fast as fastai") == 2


def test_the_epoch_trains_the_network_of_the_notebook(tmp_path):
    folder = picture_folder(tmp_path, n_test=0)
    (folder / "valid").rename(folder / "test")
    _, acc = bench_epochs.course_cifar10(folder)()
    assert 0 <= acc <= 1
    assert sum(p.numel() for p in bench_epochs.resnet2().parameters()) == 1_966_234


def test_the_stateful_lstm_is_that_of_the_notebook(monkeypatch):
    monkeypatch.setattr(bench_epochs, "CHARS", 6_000)
    started = []
    monkeypatch.setattr(bench_epochs, "_course", lambda learn, *_: started.append(learn))
    bench_epochs.course_stateful_lstm(None)
    ours, theirs = started[0].model, bench_epochs.BatchFirstLSTM(started[0].data.nt, 42, bench_epochs.N_HIDDEN, 2)
    assert [p.shape for p in ours.rnn.parameters()] == [p.shape for p in theirs.rnn.parameters()]
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_the_plain_loop_trains_as_fit_does(monkeypatch):
    """Same seed, same steps: the same weights, so that their times compare."""
    monkeypatch.setattr(bench_epochs, "ROWS", 400)
    monkeypatch.setattr(bench_epochs, "VALID", 50)
    weights = []
    for start in (lambda learn: learn.fit(1e-3, 1), lambda learn: bench_epochs.plain(learn)()):
        bench_epochs.set_seed(0)
        learn = bench_epochs.rossmann_learner()
        start(learn)
        weights.append(learn.model.state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    widths = [p.shape for p in learn.model.hidden.parameters() if p.ndim == 2]
    assert widths == [(1000, 217), (500, 1000)]  # as in the video


def test_without_fastai_the_epoch_says_how_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench_epochs, "BENCH", tmp_path / "none")
    assert bench_epochs.main([]) == 2
    assert "--target .bench" in capsys.readouterr().err


def test_tables_are_measured_and_equal_the_loop(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_tables, "apart", lambda function, size: function(size))
    assert bench_tables.main(["--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "bench-tables.json").read_text("utf-8"))
    lesson = json.loads((bench.ROOT / "results" / "lesson3-rossmann.sample.cpu.json").read_text("utf-8"))["stages"]
    assert {"name": "rows to train on", "value": record["rows"]}.items() <= lesson[0].items()
    assert 0 < record["seconds"] < 40
    assert 0 < record["elapsed"]["whole_columns"] < record["elapsed"]["loop"]
    assert capsys.readouterr().out.count("limit") == 2


def test_a_wrong_count_of_days_is_told(monkeypatch):
    names, _ = bench_tables.prepare("sample")
    one_more = lambda df, fld, pre: df.__setitem__(pre + fld, 1)
    monkeypatch.setattr(bench_tables, "get_elapsed", one_more)
    with pytest.raises(ValueError, match="disagree about SchoolHoliday"):
        bench_tables.elapsed(names)
