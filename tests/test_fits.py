"""The rows of fits: in the record of the stage after them, and drawn beside a recorded run."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from support import small_learner

from course_utils import beside, fits, results
from course_utils.results import begin, compare_fits, record


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "records"))
    monkeypatch.setattr(results, "_run", {})
    monkeypatch.setattr(beside, "RESULTS", tmp_path / "results")
    fits.take()
    yield tmp_path
    plt.close("all")


def stages(folder) -> dict[str, dict]:
    (file,) = (folder / "records").glob("*.json")
    return {stage["name"]: stage for stage in json.loads(file.read_text())["stages"]}


def test_a_record_has_the_rows_of_the_fits_before_it(folder, capsys):
    learn = small_learner(folder)
    learn.fit(0.01, 1)  # before begin: of nobody
    begin("tiny")
    learn.lr_find()
    learn.fit(0.01, 2)
    values = learn.fit(0.01, 3)
    record("accuracy", values[1])
    record("loss", values[0])
    found = stages(folder)
    tables = [fits.together([fit]) for fit in found["accuracy"]["fits"]]
    assert [len(table) for table in tables] == [2, 3]
    assert list(tables[1]) == ["trn_loss", "val_loss", "accuracy", "seconds"]
    assert list(tables[1].iloc[-1][["val_loss", "accuracy"]]) == pytest.approx(values, rel=1e-4)
    assert "fits" not in found["loss"]


def test_rows_are_kept_in_five_digits_and_of_twenty_fits():
    for n in range(25):
        fits.keep(pd.DataFrame({"val_loss": [n + 1 / 3, float("nan")], "seconds": [1234567.0, 1e-9]}))
    kept = fits.take()
    assert len(kept) == 20
    assert kept[-1] == "val_loss,seconds\n24.333,1.2346e+06\n,1e-09\n"
    assert fits.take() == []


def test_epochs_of_several_fits_follow_each_other():
    one, two = pd.DataFrame({"val_loss": [3.0, 2.0]}), pd.DataFrame({"val_loss": [1.0], "accuracy": [0.5]})
    table = fits.together([fits.as_csv(one), fits.as_csv(two)])
    assert list(table.index) == [1, 2, 3]
    assert list(table["val_loss"]) == [3, 2, 1]


@pytest.fixture
def two_stages(folder):
    begin("lesson1-dogscats")
    for stage, losses in {"first": [3.0, 2.0], "second": [1.0, 0.5, 0.25]}.items():
        fits.keep(pd.DataFrame({"val_loss": losses, "accuracy": losses}))
        record(stage, losses[-1])
    record("third", 1)


def put_real(folder, **stage) -> None:
    told = {"lesson": "lesson1-dogscats", "size": "full", "seed": 42, "device": {"type": "cuda"}, "started": "2026"}
    told["stages"] = [{"name": "second", "value": 1.0, **stage}]
    (folder / "results").mkdir()
    (folder / "results" / "lesson1-dogscats.full.cuda.json").write_text(json.dumps(told))


def test_the_curve_of_the_real_run_stands_beside_this_one(folder, two_stages):
    put_real(folder, fits=["val_loss\n0.1\n0.05\n"])
    ax = compare_fits("second")
    curves = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert curves == {"this run (drawn)": [1, 0.5, 0.25], "photos": [0.1, 0.05]}
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]
    assert [len(line.get_ydata()) for line in compare_fits("first").lines] == [2]
    assert [line.get_label() for line in compare_fits("second", "accuracy").lines] == ["this run (drawn)"]


def test_old_records_have_no_rows_and_the_last_stage_is_drawn(folder, two_stages):
    put_real(folder)
    ax = compare_fits()
    assert [list(line.get_ydata()) for line in ax.lines] == [[1, 0.5, 0.25]]


def test_what_cannot_be_drawn(two_stages):
    with pytest.raises(ValueError, match=r"no fit belongs to 'third'; stages with fits: 'first', 'second'$"):
        compare_fits("third")
    with pytest.raises(ValueError, match=r"no fit has 'error': use one of val_loss, accuracy$"):
        compare_fits("first", "error")
    begin("tiny")
    with pytest.raises(ValueError, match="none: call record after fit"):
        compare_fits()
