"""Weights, activations and small copies in files: damaged, half-written, and asked for by many at once."""

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import array_data, mlp, state
from torch import Tensor, nn

from course_utils.copies import small_copies
from course_utils.learner import Learner, load_model, save_model
from course_utils.models import load_pretrained
from course_utils.rnn import RNN_Learner
from course_utils.saved import DamagedFile, read_tensors, write_tensors
from tools import ROOT

N = 150  # of each kind of damage
OLD_KIND = partial(torch.save, _use_new_zipfile_serialization=False)


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def cut(whole: bytes, rng: random.Random) -> bytes:
    return whole[: rng.randrange(len(whole))]


def flipped(whole: bytes, rng: random.Random) -> bytes:
    content = bytearray(whole)
    content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(content)


def refused(read: Callable[[], object], file: Path, mend: str) -> bool:
    """Whether `read` ends in one line of ours, which names the file and the mend, and has nothing of torch's."""
    try:
        read()
    except DamagedFile as error:
        told = str(error)
    else:
        return False
    assert told.startswith(f"{file}: not ")
    assert told.endswith(mend)
    assert "\n" not in told
    assert "weights_only" not in told
    return True


SAVE_AGAIN = "save it again, or copy it again from where it is whole"


@pytest.mark.parametrize("damage", [cut, flipped])
def test_no_damaged_file_of_weights_is_loaded(tmp_path, damage):
    """Refused, or where nothing that counts is hit, such as the time of a member, loaded as it was saved."""
    file, rng = tmp_path / "x.pt", random.Random(0)
    save_model(model := mlp(), file)
    whole, saved = file.read_bytes(), model.state_dict()
    n_refused = 0
    for _ in range(N):
        file.write_bytes(damage(whole, rng))
        other = mlp()
        nn.init.ones_(other[0][0].weight)
        before = state(other)
        if refused(partial(load_model, other, file), file, SAVE_AGAIN):
            n_refused += 1
            assert equal(other.state_dict(), before)
        else:
            assert equal(other.state_dict(), saved)
    assert n_refused == N if damage is cut else n_refused > N / 2


@pytest.mark.parametrize("damage", [cut, flipped])
def test_no_damaged_file_of_pretrained_weights_is_loaded(tmp_path, monkeypatch, damage):
    def tiny():
        return nn.Sequential(nn.Linear(30, 20))

    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path))
    file, rng = tmp_path / "weights" / "tiny.pth", random.Random(1)
    write_tensors(saved := tiny().state_dict(), file)
    whole = file.read_bytes()
    for _ in range(N):
        file.write_bytes(damage(whole, rng))
        loaded = []
        if not refused(lambda found=loaded: found.append(load_pretrained(tiny)), file, "delete or replace it"):
            assert equal(loaded[0].state_dict(), saved)


def test_files_of_earlier_versions_of_torch_are_read_and_if_cut_refused(tmp_path):
    """They hold no checksums."""
    file, rng = tmp_path / "x.pt", random.Random(2)
    OLD_KIND(saved := mlp().state_dict(), file)
    whole = file.read_bytes()
    load_model(other := mlp(), file)
    assert equal(other.state_dict(), saved)
    for _ in range(N):
        file.write_bytes(cut(whole, rng))
        assert refused(partial(load_model, mlp(), file), file, SAVE_AGAIN)


def test_an_old_file_with_its_hash_in_its_name_is_held_against_it(tmp_path, monkeypatch):
    """As torchvision names its files."""

    def tiny():
        return nn.Sequential(nn.Linear(3, 2))

    monkeypatch.setattr("course_utils.models._weights_name", lambda arch: "tiny-01234567.pth")
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path))
    (tmp_path / "weights").mkdir()
    OLD_KIND(tiny().state_dict(), tmp_path / "weights" / "tiny-01234567.pth")
    with pytest.raises(DamagedFile, match=r"tiny-01234567\.pth: not the file of this name .*; replace it$"):
        load_pretrained(tiny)


def test_a_file_that_is_no_file_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(mlp(), tmp_path / "none.pt")
    with pytest.raises((IsADirectoryError, PermissionError)):
        read_tensors(tmp_path, "a file of weights")


def test_a_damaged_encoder_is_not_called_one_of_other_sizes(tmp_path, monkeypatch):
    learn = Learner(array_data(tmp_path), mlp())
    learn.save("enc")
    (tmp_path / "models" / "enc.pt").write_bytes(b"PK")
    monkeypatch.setattr(RNN_Learner, "_encoder_alone", lambda self: learn)
    with pytest.raises(DamagedFile, match=r"enc\.pt: not a file that save_model wrote, or damaged since"):
        RNN_Learner(array_data(tmp_path), mlp()).load_encoder("enc")


@pytest.mark.parametrize("written", [0, 1, 5_000])
def test_a_full_disk_leaves_the_weights_saved_before(tmp_path, monkeypatch, written):
    learn = Learner(array_data(tmp_path), mlp())
    learn.save("x")
    whole = (tmp_path / "models" / "x.pt").read_bytes()
    nn.init.ones_(learn.model[0][0].weight)

    def full(file: Path, content: bytes) -> None:
        with file.open("wb") as f:
            f.write(content[:written])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"x\.pt'$") as caught:
        learn.save("x")
    assert "\n" not in str(caught.value)
    assert [(f.name, f.read_bytes() == whole) for f in (tmp_path / "models").iterdir()] == [("x.pt", True)]


# Copies


@pytest.fixture
def folder(tmp_path) -> Path:
    for i in range(4):
        Image.effect_noise((30, 20), 60).convert("RGB").save(tmp_path / f"{i}.png")
    return tmp_path


NAMES = [f"{i}.png" for i in range(4)]


@pytest.mark.parametrize("damage", [cut, flipped, lambda whole, rng: b""])
def test_a_damaged_copy_is_made_anew(folder, damage):
    root = small_copies(folder, NAMES, folder / "tmp", 10)
    whole = (root / "1.png").read_bytes()
    kept = (root / "2.png").stat().st_mtime_ns
    (root / "1.png").write_bytes(damage(whole, random.Random(3)))
    os.utime(root / "1.png", (1e9, 1e9))  # it may have been written in the same tick of the clock
    small_copies(folder, NAMES, folder / "tmp", 10)
    assert (root / "1.png").read_bytes() == whole
    assert (root / "2.png").stat().st_mtime_ns == kept


@pytest.mark.parametrize("record", ["", "{", "[]", "3", "null", '{"0.png": 3}', '{"0.png": null}', "\ufeff{}"])
def test_a_damaged_list_of_copies_is_made_anew(folder, record):
    root = small_copies(folder, NAMES, folder / "tmp", 10)
    whole = (root / "made_of.json").read_text("utf-8")
    (root / "made_of.json").write_text(record, "utf-8")
    small_copies(folder, NAMES, folder / "tmp", 10)
    assert json.loads((root / "made_of.json").read_text("utf-8")).keys() == json.loads(whole).keys()


def test_what_a_killed_process_left_beside_copies_goes(folder):
    (folder / "tmp" / "10").mkdir(parents=True)
    for name in (".1.png.0123abcd.part", ".made_of.json.0123abcd.part", "mine.part"):
        (folder / "tmp" / "10" / name).touch()
    small_copies(folder, NAMES, folder / "tmp", 10)
    assert [file.name for file in (folder / "tmp" / "10").glob("*.part")] == ["mine.part"]


# Processes that are killed, and processes that ask at once


@pytest.fixture(scope="module")
def drill() -> dict[str, dict]:
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be copied here")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "forks.py")]
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_weights_are_whole_wherever_saving_is_killed(drill):
    """The old ones or the new ones; and the next call saves."""
    assert drill["saving"]["killed"] >= 5  # of 7; late steps it may not take every time
    assert set(drill["saving"]["after"]) <= {"old", "new"}
    assert drill["saving"]["again"] == ["new"] * 7


@pytest.mark.parametrize("what", ["activations", "small"])
def test_wherever_making_is_killed_the_next_call_ends_well(drill, what):
    assert drill[what]["killed"] >= 5
    assert drill[what]["right"] == [True] * 7


@pytest.mark.parametrize(("what", "made"), [("activations", 2), ("small", 6)])
def test_what_eight_processes_ask_for_at_once_is_made_once(drill, what, made):
    assert drill[what]["codes"] == [0] * 8
    assert drill[what]["made"] == made
