"""What happens when things go wrong: files that are damaged in all sorts of ways, and runs that are killed."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from waiting import until

from course_utils import files
from course_utils.collab import CollabFilterDataset
from course_utils.data import DataError, fetch, layout, registry
from course_utils.loaders import FilesDataset
from course_utils.text import read_text
from course_utils.transforms import tfms_from_stats
from course_utils.vision import ImageClassifierData
from tools.run import pool

ROOT = Path(__file__).resolve().parents[1]
TFMS = tfms_from_stats(([0.5] * 3, [0.5] * 3), 8)

drill = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@st.composite
def damaged(draw: Callable, whole: bytes) -> bytes:
    """A file cut off, with some bytes changed, with something put in between, or nothing of it left."""
    content = bytearray(whole)
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8)):
        content[place] = value
    place, more = draw(st.integers(0, len(whole))), draw(st.binary(max_size=20))
    kinds = [bytes(content), bytes(content[:place]), bytes(content[:place] + more + content[place:]), more]
    return kinds[draw(st.integers(0, 3))]


def refuses_or_reads(what: Callable[[], object], file: Path) -> None:
    """Either it works, or it ends in one line that names the file, the column or the value that is wrong."""
    told = ""
    try:
        what()
    except (ValueError, FileNotFoundError) as e:
        told = str(e)
    names = (file.name, "column '", "could not convert string to float: '")
    assert not told or (any(name in told for name in names) and len(told.splitlines()) == 1), told


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (12, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp"])
def test_damaged_pictures(tmp_path, kind):
    file = tmp_path / f"a.{kind}"

    @drill
    @given(damaged(picture(kind)))
    def check(content: bytes) -> None:
        file.write_bytes(content)
        data = FilesDataset([file.name], np.zeros(1, np.int64), tmp_path, TFMS[1])
        refuses_or_reads(lambda: data[0], file)

    check()


LABELS = b"id,label\n1,cat\n2,dog\n3,cat\n4,dog\n5,cat\n6,dog\n"
RATINGS = b"userId,movieId,rating\n1,10,4.0\n1,20,3.5\n2,10,2.0\n2,30,5.0\n"


def test_damaged_tables_of_labels(tmp_path):
    (tmp_path / "train").mkdir()
    for i in range(1, 7):
        (tmp_path / "train" / f"{i}.jpg").write_bytes(picture("jpeg"))
    file = tmp_path / "labels.csv"

    @drill
    @given(damaged(LABELS))
    @example(b"id,")
    @example(LABELS[:14])
    def check(content: bytes) -> None:
        file.write_bytes(content)
        refuses_or_reads(lambda: ImageClassifierData.from_csv(tmp_path, "train", file, tfms=TFMS, suffix=".jpg"), file)

    check()


def test_damaged_tables_of_ratings(tmp_path):
    file = tmp_path / "ratings.csv"

    @drill
    @given(damaged(RATINGS))
    @example(RATINGS.replace(b"u", b"\v", 1))
    @example(RATINGS.splitlines()[0])
    def check(content: bytes) -> None:
        file.write_bytes(content)
        names = ("ratings.csv", "userId", "movieId", "rating")
        refuses_or_reads(lambda: CollabFilterDataset.from_csv(tmp_path, *names), file)

    check()


def test_damaged_texts(tmp_path):
    file = tmp_path / "a.txt"

    @drill
    @given(damaged("Ein schöner Film, très bien…\n".encode()))
    def check(content: bytes) -> None:
        file.write_bytes(content)
        refuses_or_reads(lambda: read_text(file), file)

    check()


PETS = {f"train/{k}/{i}.txt": bytes([i]) * 40 for k in "ab" for i in (1, 2)}
CONTENT = {"zip": PETS, "tgz": PETS, "tar.xz": PETS, "txt.gz": {"pets.txt": b"woof" * 40}}


def packed(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "txt.gz":
        return gzip.compress(b"woof" * 40, mtime=0)
    files = {f"pets/{name}": data for name, data in PETS.items()}
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode={"tgz": "w:gz", "tar.xz": "w:xz"}[kind]) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tgz", "tar.xz", "txt.gz"])
def test_damaged_archives_leave_nothing(tmp_path, monkeypatch, kind):
    """Whole and checked, or refused with the data set named and no folder made."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
    for name in ("COURSE_DATA", "COURSE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    counts = {"pets.txt": 1} if kind == "txt.gz" else {"train/a/*.txt": 2, "train/b/*.txt": 2}
    alternatives = [[registry.Archive(f"pets.{kind}")]]
    entry = registry.Dataset("pets", "Pets", "CC0", "Noah", alternatives, counts)
    file, made = tmp_path / "data" / "archives" / f"pets.{kind}", tmp_path / "data" / "full"
    file.parent.mkdir(parents=True)

    @drill
    @given(damaged(packed(kind)))
    def check(content: bytes) -> None:
        file.write_bytes(content)
        layout._warn_once.cache_clear()
        told = ""
        try:
            found = fetch.full(entry)
            unpacked = [path for path in found.rglob("*") if path.is_file()]
            assert {path.relative_to(found).as_posix(): path.read_bytes() for path in unpacked} == CONTENT[kind]
            shutil.rmtree(found)
        except DataError as e:
            told = str(e)
        assert not told or f"pets.{kind}" in told
        assert [path.name for path in made.iterdir()] == [".pets.lock"]

    check()


# --- runs that are killed ---


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "tools.run", "--notebooks", str(folder / "nbs"), "--out", str(folder / "out")]
    return subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def whole(folder: Path) -> None:
    """Whatever lies there under its own name can be read."""
    for file in [*folder.rglob("*.json"), *folder.rglob("[!.]*.ipynb")]:
        json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize("whole_group", [True, False], ids=["group", "runner"])
def test_a_killed_run_leaves_nothing_in_the_way_of_the_next(tmp_path, notebook, whole_group):
    """Killed while its notebook runs, between two records; the worker and the kernel end with their runner."""
    body = "import os, time\nfrom course_utils.results import begin, record\nbegin('tiny', SIZE, SEED)"
    pause = "open('pid', 'w').write(str(os.getpid()))\ntime.sleep(PAUSE)"
    steps = [body, "record('one', 1)", pause, "record('two', 2)"]
    parameters = 'SIZE: str = "sample"  # size\nSEED: int = 42  # seed\nPAUSE: int = 600  # seconds'
    notebook(tmp_path / "nbs" / "tiny.ipynb", steps, parameters)
    killed, pid = start(tmp_path), tmp_path / "nbs" / "pid"
    until(lambda: pid.exists() and pid.read_text())
    os.killpg(killed.pid, signal.SIGKILL) if whole_group else killed.kill()
    killed.communicate()
    until(lambda: not alive(int(pid.read_text())))
    whole(tmp_path / "out")
    notebook(tmp_path / "nbs" / "tiny.ipynb", steps, parameters.replace("600", "0"))
    out, err = start(tmp_path).communicate()
    assert "tiny: finished" in out, err
    whole(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob(".*")] == [".lock"]
    (record,) = (tmp_path / "out" / "results").glob("*.json")
    assert [stage["name"] for stage in json.loads(record.read_text())["stages"]] == ["one", "two"]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_the_second_of_two_runs_waits_for_the_first(tmp_path):
    out = tmp_path / "out"
    code = f"from pathlib import Path; from tools.run import pool\nwith pool.alone(Path({str(out)!r})): print('in')"
    with pool.alone(out):
        (out / ".tiny.ipynb.0123abcd.part").write_text("half")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        second = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes)
        assert second.stderr.readline() == f"run: another run writes to {out}; waiting for its end\n"
        assert second.poll() is None
    assert second.communicate()[0] == "in\n"
    assert not (out / ".tiny.ipynb.0123abcd.part").exists()
