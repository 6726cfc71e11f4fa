"""Where work files go: a folder for each data set, wherever it lies."""

from pathlib import Path

import pytest

from course_utils import files
from course_utils.files import work_dir, work_file


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
    assert all(d.parent == read_only / ".runs" / "work" for d in dirs)


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
