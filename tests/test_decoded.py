"""Many tiny pictures: decoded at once, kept as one array, and never mixed with others."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils import decoded, pictures, reading
from course_utils.files import ROOT
from course_utils.pictures import FilesDataset
from course_utils.reading import read_array, read_picture
from course_utils.transforms import CropType, RandomFlip, imagenet_stats, tfms_from_stats
from course_utils.vision import ImageClassifierData

N = 30
ALL = torch.arange(N)


def noise(file: Path, i: int, size: tuple[int, int] = (24, 24)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """N pictures of 24 x 24, which are many here; in this process, and with memory to spare."""
    for i in range(N):
        noise(tmp_path / "data" / f"{i}.png", i)
    monkeypatch.setattr(pictures, "MANY", N)
    monkeypatch.setattr(pictures, "memory_is_free", lambda after=0: True)
    monkeypatch.setattr(decoded, "memory_is_free", lambda after=0: True)
    monkeypatch.setattr(decoded.joblib, "cpu_count", lambda: 1)
    decoded._warn_once.cache_clear()
    return tmp_path / "data"


@pytest.fixture
def read(monkeypatch):
    """The files that are decoded, in their order, by whichever way."""
    names, original = [], read_picture

    def counting(file, side=0):
        names.append(file.name)
        return original(file, side)

    for module in (decoded, pictures, reading):
        monkeypatch.setattr(module, "read_picture", counting)
    return names


def data_set(folder, side=24, crop=CropType.CENTER, names=None, training=False):
    names = [f"{i}.png" for i in range(N)] if names is None else names
    tfm = tfms_from_stats(imagenet_stats, side, crop_type=crop)[0 if training else 1]
    return FilesDataset(names, np.arange(len(names)), folder, tfm)


def kept_files(folder):
    return sorted(folder.rglob("pictures_*.pt"))


def one_by_one(ds, monkeypatch):
    """The batch of all pictures of another data set like this, as of few or large files."""
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "MANY", 10**9)
        other = FilesDataset(ds.fnames, ds.y, ds.path, ds.tfm)
        return other.batch(torch.arange(len(ds)))[0], other


# The same pictures


@pytest.mark.parametrize("crop", list(CropType))
@pytest.mark.parametrize("side", [17, 24, 40])
@pytest.mark.parametrize("size", [(24, 24), (31, 26), (20, 33)])
def test_batches_are_the_same_to_the_bit(folder, monkeypatch, crop, side, size):
    """Decoded one by one, all at once, and read from what was kept; also as they lie in memory."""
    for i in range(N):
        noise(folder / f"{i}.png", i, size)
    ds = data_set(folder, side, crop, training=True)
    expected, plain = one_by_one(ds, monkeypatch)
    for again in (ds, data_set(folder, side, crop, training=True)):
        torch.manual_seed(0)
        first = again.batch(ALL)[0]
        torch.manual_seed(0)
        assert torch.equal(plain.batch(ALL)[0], first)
        assert again.stacked.stride() == plain.stacked.stride()
        assert torch.equal(again.stacked, plain.stacked)
        assert again.contents() == plain.contents()
        assert not again.kept
    assert expected.shape == (N, 3, side, side)
    assert len(kept_files(folder)) == 1


def test_processes_give_what_this_one_does(folder, monkeypatch):
    """Also pictures that are turned, grey or of 16 bits, and names from elsewhere."""
    Image.effect_noise((24, 24), 60).save(folder / "3.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((24, 24), 60).convert("RGB").save(folder / "4.png", exif=exif.tobytes())
    Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 100).save(folder / "5.png")
    names = [str((folder / f"{i}.png").resolve()) for i in range(N)]
    monkeypatch.setattr(decoded.joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(decoded, "CHUNK", 3)
    ds = data_set(folder, names=names)
    x = ds.batch(ALL)[0]
    assert torch.equal(one_by_one(ds, monkeypatch)[0], x)
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"7\.png: not a readable picture \(.*; replace or delete it$") as e:
        data_set(folder).batch(ALL)
    assert e.value.__cause__ is None


def test_a_process_that_dies_is_done_without(folder, monkeypatch):
    def broken(*args):
        raise BrokenExecutor

    monkeypatch.setattr(decoded, "_by_processes", broken)
    ds = data_set(folder)
    assert torch.equal(one_by_one(ds, monkeypatch)[0], ds.batch(ALL)[0])
    assert ds.stacked is not None


SCRIPT = """
print("begun")
import numpy as np
from pathlib import Path
from course_utils import decoded
decoded.CHUNK = 3
decoded.joblib.cpu_count = lambda: 2
print(decoded._decoded([f"{i}.png" for i in range(30)], 24).sum().item())
"""


def test_a_script_of_a_learner_runs_once(folder):
    """It need not say `if __name__ == "__main__"`, as with the processes of multiprocessing."""
    (folder / "mine.py").write_text(SCRIPT, "utf-8")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "mine.py"], cwd=folder, env=env, capture_output=True, text=True)
    expected = decoded._decoded([str(folder / f"{i}.png") for i in range(N)], 24).sum().item()
    assert (done.stdout, done.stderr) == (f"begun\n{expected}\n", "")


def pixels_there(folder, answers):
    decoded.joblib.cpu_count = lambda: 2
    decoded.CHUNK = 3
    answers.put(decoded._decoded([str(folder / f"{i}.png") for i in range(N)], 24)[0].sum().item())


@pytest.mark.parametrize("daemon", [True, False])
def test_a_process_of_multiprocessing_reads_and_ends(folder, daemon):
    """A daemon may have no processes of its own; another one waits for its own before it ends."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=pixels_there, args=(folder, answers), daemon=daemon)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert answers.get() == np.asarray(read_picture(folder / "0.png")).sum()


# Decoded once


def test_the_next_data_set_decodes_nothing(folder, read):
    first = data_set(folder, training=True)
    x = first.batch(ALL)[0]
    assert {*read} == {f"{i}.png" for i in range(N)}
    read.clear()
    for crop, training in (CropType.CENTER, False), (CropType.NO, False), (CropType.RANDOM, True):
        ds = data_set(folder, crop=crop, training=training)
        assert torch.equal(ds.batch(ALL)[0], x)
        assert ds.contents() == first.contents()
    assert read == []


def test_names_from_a_table_are_names(folder, read):
    """pandas and NumPy have strings of their own."""
    data_set(folder).batch(ALL)
    read.clear()
    data_set(folder, names=np.array([f"{i}.png" for i in range(N)])).batch(ALL)
    assert read == []


def test_loaders_of_the_same_pictures_share_a_file(tmp_path, folder, read):
    for name in ("train/a", "train/b", "valid/a", "valid/b"):
        for i in range(N):
            noise(tmp_path / "two" / name / f"{i}.png", i)
    tfms = tfms_from_stats(imagenet_stats, 24, [RandomFlip()], pad=3)
    data = ImageClassifierData.from_paths(tmp_path / "two", tfms=tfms)
    for dl in (data.trn_dl, data.fix_dl, data.val_dl, data.aug_dl):
        list(dl)
    assert len(read) == 2 * (2 * N + 1)  # training and validation; the first of each tells the size
    assert len(kept_files(tmp_path / "two")) == 2


def test_a_file_that_changed_is_seen(folder, read, monkeypatch):
    before = data_set(folder)
    before.batch(ALL)
    contents = before.contents()
    noise(folder / "5.png", 99)
    os.utime(folder / "5.png", ns=(0, 0))
    ds = data_set(folder)
    read.clear()
    x = ds.batch(ALL)[0]
    assert set(read) >= set(ds.fnames)
    assert torch.equal(one_by_one(ds, monkeypatch)[0], x)
    assert [row for row in range(N) if ds.contents()[row] != contents[row]] == [5]
    assert before.contents() == contents


def test_other_sizes_orders_folders_and_versions_have_files_of_their_own(folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    for i in range(N):
        noise(other / f"{i}.png", 100 + i)
        stat = (folder / f"{i}.png").stat()
        os.utime(other / f"{i}.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    names = [f"{i}.png" for i in range(N)]
    sets = [data_set(folder), data_set(folder, 12), data_set(folder, names=names[::-1]), data_set(other)]
    for n, ds in enumerate(sets, start=1):
        assert torch.equal(ds.batch(ALL)[0], one_by_one(ds, monkeypatch)[0])
        assert len(kept_files(tmp_path)) == n
    monkeypatch.setattr(decoded.PIL, "__version__", "99")
    data_set(folder).batch(ALL)
    assert len(kept_files(tmp_path)) == len(sets) + 1


def test_what_another_process_has_made_while_this_one_waited_is_taken(folder, read, monkeypatch):
    x = data_set(folder).batch(ALL)[0]
    looks, original = [], decoded._kept
    monkeypatch.setattr(decoded, "_kept", lambda *args: original(*args) if looks else looks.append(1))
    read.clear()
    assert torch.equal(data_set(folder).batch(ALL)[0], x)
    assert read == []


# What is not kept


def test_few_pictures_large_files_and_different_sizes_leave_no_file(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "MANY", N + 1)
        data_set(folder).batch(ALL)
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "TINY", (folder / "9.png").stat().st_size)
        data_set(folder).batch(ALL)
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "MOST", N * 3 * 24 * 24 - 1)
        data_set(folder).batch(ALL)
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "ON_DEVICE", N * 3 * 24 * 24)
        data_set(folder).batch(ALL)
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "memory_is_free", lambda after=0: after < pictures.ON_DEVICE)
        data_set(folder).batch(ALL)
    noise(folder / "8.png", 8, (24, 25))
    ds = data_set(folder)
    assert torch.equal(ds.batch(ALL)[0], one_by_one(ds, monkeypatch)[0])
    assert kept_files(folder) == []


def test_another_size_is_seen(folder):
    files = [str(folder / f"{i}.png") for i in range(3)]
    assert read_array(files, 24, (24, 24)).shape == (3, 24, 24, 3)
    assert read_array(files, 24, (24, 25)) is None


# When things break


def test_a_damaged_file_is_made_anew_with_one_warning(folder, read, caplog):
    x = data_set(folder).batch(ALL)[0]
    (file,) = kept_files(folder)
    whole = file.read_bytes()
    part = file.with_name(f".{file.name}.0123abcd.part")
    part.touch()  # of a process that was killed
    torch.save(torch.zeros(N - 1, 24, 24, 3, dtype=torch.uint8), file)
    too_few = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:-100], bytes(flipped), b"", too_few):
        file.write_bytes(damaged)
        caplog.clear()
        read.clear()
        assert torch.equal(data_set(folder).batch(ALL)[0], x)
        assert len(read) == N + 1
        assert caplog.messages == [f"{file}: damaged; it is made anew"]
        assert file.read_bytes() == whole
    assert not part.exists()
    caplog.clear()
    data_set(folder).batch(ALL)
    assert caplog.messages == []


def test_where_nothing_can_be_written_training_goes_on_after_one_line(folder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "file" / "work"))  # no folder can be made in a file
    expected = one_by_one(data_set(folder), monkeypatch)[0]
    for _ in range(3):
        ds = data_set(folder)
        assert torch.equal(ds.batch(ALL)[0], expected)
        assert ds.stacked is not None
    (message,) = caplog.messages
    assert message.endswith("pictures are decoded again each time")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_nothing_half(folder, monkeypatch, caplog, error):
    def half(part, content):
        with part.open("wb") as f:
            f.write(content[:1000])
        raise error

    monkeypatch.setattr(Path, "write_bytes", half)
    ds = data_set(folder)
    if isinstance(error, OSError):
        ds.batch(ALL)
        (message,) = caplog.messages
        assert "cannot be written to (No space left on device)" in message
    else:
        with pytest.raises(KeyboardInterrupt):
            ds.batch(ALL)
    assert kept_files(folder) == []
    assert list(folder.rglob("*.part")) == []


@pytest.mark.parametrize("n", [0, 4])
def test_an_unreadable_picture_is_named_in_one_line(folder, n):
    (folder / f"{n}.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=rf"{n}\.png: not a readable picture \(.*; replace or delete it$"):
        data_set(folder).batch(ALL)
    (folder / f"{n}.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{n}\.png: no such picture$"):
        data_set(folder).batch(ALL)
    assert kept_files(folder) == []
