"""Where work files go: a folder for each data set, wherever it lies; how they are written."""

import errno
import json
import os
import re
from pathlib import Path

import pytest

from course_utils import files
from course_utils.files import atomic, place_name, sweep_parts, work_dir, work_file
from tools import run


@pytest.fixture
def read_only(tmp_path, monkeypatch) -> Path:
    """The home of work files, where no data set can be written to."""
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr(files, "ROOT", tmp_path / "home")
    return tmp_path / "home"


def folder(*parts: str) -> Path:
    path = Path(*parts)
    path.mkdir(parents=True)
    return path


def test_work_files_stay_with_data_that_can_be_written_to(tmp_path):
    assert work_dir(tmp_path) == tmp_path
    assert work_dir(str(tmp_path)) == tmp_path


def test_each_data_set_has_a_folder_of_its_own_in_course_work(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    a, b = folder(tmp_path, "one", "dogs"), folder(tmp_path, "two", "dogs")
    assert work_dir(a).parent == work_dir(b).parent == tmp_path / "work"
    assert work_dir(a).name.startswith("dogs-")
    assert work_dir(a) != work_dir(b)


def test_each_read_only_data_set_has_a_folder_of_its_own(tmp_path, read_only):
    """Also the sample and the full set of one name, and sets whose last two folders agree."""
    places = [("sample", "dogs"), ("full", "dogs"), ("elsewhere", "full", "dogs")]
    dirs = [work_dir(folder(tmp_path, *place)) for place in places]
    assert len(set(dirs)) == 3
    assert all(d.parent == read_only / "data" / "work" for d in dirs)


def test_one_data_set_has_one_folder_however_its_path_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    path = folder(tmp_path, "data", "dogs")
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    ways = [path, f"{path}/", "data/dogs", tmp_path / "data" / ".." / "data" / "dogs", "link"]
    assert {work_dir(way).resolve() for way in ways} == {work_dir(path)}


def test_a_file_is_found_in_its_place_first(tmp_path, monkeypatch):
    path = folder(tmp_path, "dogs")
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    here = work_dir(path) / "models" / "x.pt"
    assert work_file(path, "models/x.pt") == here  # there is none: this is where it would be
    (folder(path, "models") / "x.pt").touch()  # written while COURSE_WORK was not set
    assert work_file(path, "models/x.pt") == path / "models" / "x.pt"
    here.parent.mkdir(parents=True)
    here.touch()
    assert work_file(path, "models/x.pt") == here


# Data that can be built or fetched again, and data that are only read


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A checkout's place."""
    monkeypatch.setattr(files, "ROOT", tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize("size", ["sample", "small", "full"])
def test_no_work_file_lies_in_data_that_can_be_made_again(home, tmp_path, monkeypatch, size):
    """However one writes their place: what is made again is deleted first."""
    path = folder(home, "data", size, "dogs")
    (tmp_path / "link").symlink_to(home, target_is_directory=True)
    monkeypatch.chdir(home)
    for way in (path, str(path), f"data/{size}/dogs", tmp_path / "link" / "data" / size / "dogs", path / ".." / "dogs"):
        assert work_dir(way) == home / "data" / "work" / place_name(path)


def test_a_full_set_that_lies_on_another_disk_is_one_as_well(home, tmp_path):
    disk = folder(tmp_path, "disk", "dogs")
    folder(home, "data", "full")
    (home / "data" / "full" / "dogs").symlink_to(disk, target_is_directory=True)
    assert work_dir(home / "data" / "full" / "dogs") == home / "data" / "work" / place_name(disk)


def test_nothing_is_written_into_course_data(home, tmp_path, monkeypatch):
    """It is only read, also where it could be written to; relative to ROOT, or by a link of its own."""
    path, disk = folder(home, "class", "dogs"), folder(tmp_path, "disk", "cats")
    (home / "class" / "cats").symlink_to(disk, target_is_directory=True)
    for value in (str(home / "class"), "class"):
        monkeypatch.setenv("COURSE_DATA", value)
        assert work_dir(path) == home / "data" / "work" / place_name(path)
        assert work_dir(home / "class" / "cats") == home / "data" / "work" / place_name(disk)
    assert list(path.iterdir()) == []


def test_folders_of_the_users_stay_as_in_the_videos(home, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", "data/sampled")
    for place in (("data", "mine"), ("data", "sampler"), ("data", "work", "dogs-1", "tmp"), ("sample",)):
        path = folder(home, *place)
        assert work_dir(path) == path


def test_course_work_may_lie_below_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("COURSE_WORK", "~/work")
    assert work_dir(tmp_path / "dogs").parent == tmp_path / "work"


def test_files_of_earlier_places_are_found_in_order(home, monkeypatch):
    path = folder(home, "data", "sample", "dogs")
    key = place_name(path)
    places = [home / ".runs" / "work" / key, home / "data" / "work" / key, path, home / "mine" / key]
    monkeypatch.setenv("COURSE_WORK", str(home / "mine"))
    for place in places:
        (folder(place, "models") / "x.pt").touch()
    for place in reversed(places):  # each goes before those that were there
        assert work_file(path, "models/x.pt") == place / "models" / "x.pt"
        (place / "models" / "x.pt").unlink()
    assert work_file(path, "models/x.pt") == home / "mine" / key / "models" / "x.pt"


def test_notebooks_ask_where_work_files_go():
    """None joins a data set's path with a name of its own for them."""
    for file in run.find(run.NOTEBOOKS, solutions=True).values():
        cells = json.loads(file.read_text("utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        joined = re.search(r"""\b(PATH|SOURCE|source)(\s*[/+]\s*f?["']|\}/?)/?(tmp|models)\b""", code)
        assert joined is None, f"{file.name}: {joined[0]}"


# Written whole or not at all


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("old")

    def write() -> None:
        with atomic(file) as part:
            part.write_text("ne")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=rf"^\[Errno {errno.ENOSPC}\] .*x\.txt'$") as caught:
        write()
    assert caught.value.errno == errno.ENOSPC
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("x.txt", "old")]


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path):
    file = tmp_path / "a[1].pt"
    names = [
        ".a[1].pt.0123abcd.part",
        ".a[1].pt.0123abce.part",
        ".a1.pt.0123abcd.part",
        "a[1].pt",
        ".b.pt.0123abcd.part",
    ]
    for name in names:
        (tmp_path / name).touch()
    os.utime(tmp_path / names[0], (1e9, 1e9))
    sweep_parts(file)
    assert {f.name for f in tmp_path.iterdir()} == set(names[1:])
    sweep_parts(file, older_than=0)
    assert {f.name for f in tmp_path.iterdir()} == set(names[2:])
