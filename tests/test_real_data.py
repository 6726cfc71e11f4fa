"""Real data, reduced in number, in the layouts of the full sets: a mirror beside the repository."""

import pytest

from course_utils import files
from course_utils.data import fetch, fingerprint, get_data

MIRROR = files.ROOT.parent / "shared" / "data"
REGISTRY = files.ROOT / "data" / "registry.toml"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not MIRROR.is_dir(), reason="no mirror of real data at ../shared/data"),
]

FILES = {
    "cifar10": {"train/*/*.png": 20000, "test/*/*.png": 10000},
    "dogscats": {"train/*/*.jpg": 2002, "valid/*/*.jpg": 1000},
    "imdb": {"*/*/*.txt": 50000},
    "ml-latest-small": {"*.csv": 4},
    "nietzsche": {"*": 1},
    "rossmann": {"*.csv": 8},
    "statefarm": {"train/c?/*.jpg": 2588},
}
REDUCED = {"cifar10", "dogscats", "statefarm"}


@pytest.mark.parametrize("name", FILES)
def test_an_archive_of_the_mirror_becomes_a_data_set(name, tmp_path, monkeypatch, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.toml").write_bytes(REGISTRY.read_bytes())
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setenv("COURSE_MIRROR", str(MIRROR))
    fetch._warn_once.cache_clear()
    folder = get_data(name, "full")
    assert folder == tmp_path / "data" / "full" / name
    assert {glob: len(list(folder.glob(glob))) for glob in FILES[name]} == FILES[name]
    assert [m.split(",")[0] for m in caplog.messages] == [f"{name}: reduced copy"] * (name in REDUCED)
    assert [p.name for p in folder.parent.iterdir()] == [name]
    before = fingerprint(folder)
    assert get_data(name, "full") == folder
    assert fingerprint(folder) == before
