"""A sample that is built anew, and `make clean`: what the project did not make stays."""

import errno
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from course_utils import files as where
from course_utils.data import DataError, get_data, samples
from course_utils.data.samples import keep
from tools.clean import clean

ROOT = Path(__file__).resolve().parents[1]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def tree(folder: Path) -> dict[str, str]:
    """Every file but the two hidden ones of a sample."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in keep.OURS]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def beside(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "data" / "sample").iterdir() if path.suffix != ".lock")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(where, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def builder(root, monkeypatch) -> types.ModuleType:
    """A sample "toy" of three files; another version lacks one and has a new one."""
    module = types.ModuleType("toy_builder")
    module.VERSION = 1

    def build(target: Path) -> None:
        write(target, {"a.txt": "a", "b/c.txt": str(module.VERSION), f"v{module.VERSION}/d.txt": "d"})

    module.build = build
    monkeypatch.setitem(sys.modules, "toy_builder", module)
    monkeypatch.setitem(samples.BUILDERS, "toy", "toy_builder")
    return module


NEW = {"a.txt": "a", "b/c.txt": "2", "v2/d.txt": "d"}
MINE = {"models/x.pt": "weights", "tmp/x/y": "1", "b/mine.txt": "mine", "v1/mine.txt": "mine too", ".hidden": "h"}


def test_a_new_version_keeps_what_is_the_learners(builder, root, caplog):
    folder = get_data("toy")
    write(folder, MINE)
    builder.VERSION = 2
    assert tree(get_data("toy")) == NEW | MINE
    assert beside(root) == ["toy"]
    assert caplog.messages == []
    builder.VERSION = 3  # those that were carried over are nobody else's now
    assert tree(get_data("toy")) == {"a.txt": "a", "b/c.txt": "3", "v3/d.txt": "d"} | MINE


def test_what_was_changed_is_put_aside_and_named_once(builder, root, caplog):
    write(get_data("toy"), {"b/c.txt": "changed", "v1/d.txt": "changed too"})
    builder.VERSION = 2
    for _ in range(2):
        assert tree(get_data("toy")) == NEW | {"v1/d.txt": "changed too"}  # its name is free
    assert tree(root / "data" / "sample" / "toy-kept") == {"b/c.txt": "changed"}
    place = root / "data" / "sample" / "toy"
    assert caplog.messages == [f"{place}: built anew; 1 files that may be yours are in {place}-kept, as b/c.txt"]
    write(get_data("toy"), {"b/c.txt": "changed again"})
    builder.VERSION = 3
    get_data("toy")
    assert beside(root) == ["toy", "toy-kept", "toy-kept-2"]
    assert tree(root / "data" / "sample" / "toy-kept-2") == {"b/c.txt": "changed again"}


def test_a_folder_from_before_there_were_lists_loses_nothing(builder, root):
    """Nobody knows what is whose: what lessons write keeps its place, the rest is put aside."""
    folder = get_data("toy")
    (folder / keep.MADE).unlink()
    write(folder, MINE)
    builder.VERSION = 2
    carried = {name: text for name, text in MINE.items() if name.startswith(("models/", "tmp/"))}
    assert tree(get_data("toy")) == NEW | carried
    aside = tree(root / "data" / "sample" / "toy-kept")
    assert aside == {name: text for name, text in MINE.items() if name not in carried} | {
        "b/c.txt": "1",
        "v1/d.txt": "d",
    }


def test_a_file_in_the_place_of_a_folder_and_links_are_kept(builder, root):
    folder = get_data("toy")
    write(folder, {"v2": "a file"})
    (folder / "link").symlink_to("a.txt")
    (folder / "folder").symlink_to(root)
    (folder / "dead").symlink_to("nowhere")
    builder.VERSION = 2
    new = get_data("toy")
    assert (new / "v2" / "d.txt").read_text() == "d"
    assert tree(root / "data" / "sample" / "toy-kept") == {"v2": "a file"}
    assert [os.readlink(new / name) for name in ("link", "folder", "dead")] == ["a.txt", str(root), "nowhere"]


def test_what_is_written_while_the_folders_change_place_is_kept(builder, root, monkeypatch):
    """By a lesson that goes on with the old folder."""
    folder = get_data("toy")
    builder.VERSION = 2
    publish = samples.publish

    def saves(new: Path, place: Path) -> None:
        write(keep.former(folder), {"models/late.pt": "late"})
        publish(new, place)

    monkeypatch.setattr(samples, "publish", saves)
    get_data("toy")
    assert tree(root / "data" / "sample" / "toy-kept") == {"models/late.pt": "late"}


def test_a_disk_that_fills_while_a_sample_is_built_anew_leaves_the_old_one(builder, root, monkeypatch):
    write(get_data("toy"), {"models/x.pt": "weights"})
    before = tree(root)
    builder.VERSION = 2

    def fills(target: Path) -> None:
        write(target, {"a.txt": "half"})
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patch:
        patch.setattr(builder, "build", fills)
        with pytest.raises(DataError, match=r"^the disk of .*/data/sample is full: make room there$"):
            get_data("toy")
    assert tree(root) == before
    get_data("toy")
    assert tree(root / "data" / "sample" / "toy") == NEW | {"models/x.pt": "weights"}


def test_make_clean_leaves_what_is_not_the_builders(builder, root):
    get_data("toy")
    samples_folder = root / "data" / "sample"
    write(samples_folder / ".toy.0123abcd.part" / "new", {"a.txt": ""})
    assert clean(samples_folder) == []
    assert list(samples_folder.iterdir()) == []
    write(get_data("toy"), {"models/x.pt": "weights", "b/c.txt": "changed"})
    write(samples_folder / "old", {".version": "1", "a.txt": ""})
    write(samples_folder / "toy-kept", {"a.txt": ""})
    assert clean(samples_folder) == [samples_folder / name for name in ("old", "toy", "toy-kept")]
    assert tree(samples_folder / "toy") == {"models/x.pt": "weights", "b/c.txt": "changed"}
    assert tree(get_data("toy")) == {"a.txt": "a", "b/c.txt": "1", "v1/d.txt": "d", "models/x.pt": "weights"}
    assert tree(samples_folder / "toy-kept-2") == {"b/c.txt": "changed"}


def test_make_clean_knows_what_killed_unpackings_leave():
    told = subprocess.run(["make", "-n", "clean"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "tools/clean.py" in told
    (removed,) = [line.split() for line in told.splitlines() if line.startswith("rm -rf ")]
    assert "data/full/.*.????????.part" in removed
    assert not {"data/sample", "data/full", "data/archives"} & set(removed)
