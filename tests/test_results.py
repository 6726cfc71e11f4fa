"""course_utils.results: what a record holds, and what is refused."""

import errno
import json
import math
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from course_utils import provenance, results
from course_utils.files import inside
from course_utils.results import begin, record, results_table


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path))
    monkeypatch.setattr(results, "_run", {})
    return tmp_path


def only_record(folder: Path) -> dict:
    (path,) = folder.rglob("*.json")
    return json.loads(path.read_text("utf-8"))


def test_record_holds_the_run_and_its_stages(folder):
    begin("lesson1-dogscats", seed=3)
    record("quick start accuracy", 0.75)
    record("quick start loss", np.float32(0.5))
    found = only_record(folder)
    assert [(s["name"], s["value"]) for s in found["stages"]] == [
        ("quick start accuracy", 0.75),
        ("quick start loss", 0.5),
    ]
    assert (found["lesson"], found["size"], found["seed"]) == ("lesson1-dogscats", "sample", 3)
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]
    assert found["versions"]["pandas"] == pd.__version__
    assert found["threads"] == torch.get_num_threads()
    assert 0 <= found["stages"][0]["seconds"] <= found["stages"][1]["seconds"]
    assert pd.Timestamp(found["started"]).tz is not None
    now, whole = psutil.Process().memory_info().rss / 2**30, psutil.virtual_memory().total / 2**30
    assert now - 0.01 <= found["memory_gb"] < whole  # the peak in GiB


def test_file_name_has_lesson_size_and_device(folder):
    begin("2017/tiny", "full")
    kind = only_record(folder)["device"]["type"]
    assert (folder / "2017" / f"tiny.full.{kind}.json").exists()


def test_begin_seeds_all_three_generators():
    import random

    def draw():
        begin("tiny", seed=11)
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    assert draw() == draw()


def test_begin_again_starts_a_new_record(folder):
    begin("tiny")
    record("a", 1)
    begin("tiny")
    record("a", 2)
    assert [s["value"] for s in only_record(folder)["stages"]] == [2.0]


def test_data_fingerprint_changes_with_the_data(folder, tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    (data / "a.txt").write_text("one")
    begin("tiny", data=data)
    before = only_record(folder)["data"]
    (data / "a.txt").write_text("another size")
    begin("tiny", data=data)
    assert before
    assert only_record(folder)["data"] != before


def test_a_failed_write_leaves_the_record_as_it_was(folder, monkeypatch):
    begin("tiny")
    record("a", 1)

    def full_disk(self, text, encoding):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="no space"):
        record("b", 2)
    assert [s["name"] for s in only_record(folder)["stages"]] == ["a"]


LEADING_OUT = [
    "../x",
    "../../x",
    "a/../../x",
    "/x",
    "",
    ".",
    "..",
    "C:x",
    "C:\\x",
    "\\\\host\\x",
    "a\\..\\..\\x",
    "a\0b",
]


@pytest.mark.parametrize("name", [*LEADING_OUT, "link/x", "link"])
def test_a_name_that_leads_out_of_its_folder(folder, tmp_path_factory, name):
    (folder / "link").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(ValueError, match="is no name inside"):
        inside(folder, name)


@pytest.mark.parametrize("name", ["a", "2017/a", "a[1]", "a..b", "..a", "a b/ä", "within/x"])
def test_a_name_inside_its_folder(folder, name):
    (folder / "within").symlink_to("a")  # to a place in the same folder
    assert inside(folder, name) == folder / name


@pytest.mark.parametrize("lesson", LEADING_OUT)
def test_a_lesson_whose_record_would_lie_elsewhere(folder, lesson):
    begin("tiny")
    with pytest.raises(ValueError, match="is no name inside"):
        begin(lesson)
    record("a", 1)
    assert only_record(folder)["lesson"] == "tiny"
    assert [path.name for path in folder.iterdir()] == ["tiny.sample.cpu.json"]


def test_records_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_RESULTS", "~/records")
    monkeypatch.chdir(tmp_path)
    begin("tiny")
    assert only_record(tmp_path / "records")["lesson"] == "tiny"


def test_a_disk_that_fills_while_a_record_is_written(folder, monkeypatch):
    """At ten points: the record is the one before, whole, and nothing lies beside it."""
    begin("tiny")
    record("a", 1)
    before = only_record(folder)
    for point in range(10):

        def full_disk(self, text, encoding, point=point):
            self.write_bytes(text.encode()[: len(text) * point // 10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", full_disk)
            with pytest.raises(OSError, match="No space left"):
                record(f"b{point}", 2)
        assert only_record(folder) == before
        assert len(list(folder.rglob("*"))) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.9", torch.tensor([1.0, 2.0])])
def test_only_finite_numbers(value):
    begin("tiny")
    with pytest.raises(ValueError, match=r"'a' is .*: record takes a finite number"):
        record("a", value)


def test_same_name_twice():
    begin("tiny")
    record("a", 1)
    with pytest.raises(ValueError, match=r"'a' is recorded already: run the cell with begin"):
        record("a", 2)


def test_record_before_begin():
    with pytest.raises(RuntimeError, match=r"call begin\(lesson\) first"):
        record("a", 1)


def test_unknown_size_leaves_the_open_record(folder):
    begin("tiny")
    with pytest.raises(ValueError, match="unknown size 'big'; known: full, sample, small"):
        begin("tiny", "big")
    record("a", 1)
    assert only_record(folder)["size"] == "sample"


def test_table_sets_this_run_beside_the_video():
    begin("lesson1-dogscats")
    record("log loss by hand", 0.164252)
    record("a stage of our own", 1.0)
    table = results_table().data
    assert list(table["the video"][:1]) == [0.164252]
    assert math.isnan(table["the video"][1])
    assert list(table["why they can differ"])[1] == ""


def test_table_shows_counts_small_and_large_numbers_and_names_as_they_are():
    begin("2017/mnist")
    values = [34426698, 0.9251234, 81.61849, 1303.7812, 8.9e-16, 0, -0.25, 1]
    for i, value in enumerate(values):
        record(f"a < b & {i}", value)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", results_table().to_html(), re.DOTALL)
    assert cells[1::4] == ["34,426,698", "0.9251", "81.62", "1,304", "8.9e-16", "0", "-0.25", "1"]
    assert cells[0] == '<div style="text-align: left">a &lt; b &amp; 0</div>'
    assert set(cells[2::4]) == {""}
    assert list(results_table().data) == ["stage", "this run", "in 2017", "why they can differ"]


def test_table_is_empty_before_begin():
    assert results_table().data.empty


@pytest.mark.parametrize(("changed", "suffix"), [(None, ""), ("nbs/a.ipynb", ""), ("code.py", "+changes")])
def test_commit_tells_of_changes_outside_notebooks(tmp_path, monkeypatch, changed, suffix):
    def git(*args):
        name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", *name, *args], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    for file in ("nbs/a.ipynb", "code.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "start")
    if changed:
        (tmp_path / changed).write_text("2")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance._commit() == git("rev-parse", "HEAD") + suffix


def test_commit_is_null_without_git(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance._commit() is None


def test_commit_of_a_copy_is_the_one_given(tmp_path, monkeypatch):
    """Even where the copy lies in a checkout of another commit."""
    monkeypatch.setenv("COURSE_COMMIT", "0123abc")
    for root in (tmp_path, results.ROOT):
        monkeypatch.setattr(provenance, "ROOT", root)
        assert provenance._commit() == "0123abc"
