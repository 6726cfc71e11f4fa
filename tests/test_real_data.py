"""Real data, reduced in number, in the layouts of the full sets: a mirror beside the repository."""

import hashlib
import struct

import pytest
import requests

from course_utils import files
from course_utils.data import fingerprint, get_data, layout

MIRROR = files.ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not MIRROR.is_dir(), reason="no mirror of real data at ../shared/data"),
]

FILES = {
    "cifar10": {"train/*/*.png": 50000, "test/*/*.png": 10000},
    "dogscats": {"train/*/*.jpg": 2002, "valid/*/*.jpg": 1000},
    "imdb": {"*/pos/*.txt": 25000, "*/neg/*.txt": 25000, "train/unsup/*.txt": 50000},
    "ml-latest-small": {"*.csv": 4},
    "mnist": {"*-ubyte": 4},
    "nietzsche": {"*": 1},
    "rossmann": {"*.csv": 8},
    "statefarm": {"train/c?/*.jpg": 2588},
}
REDUCED = {"dogscats", "statefarm"}
SMALL = {
    "cifar10": {"train/*/*.png": 4000, "test/*/*.png": 1000},
    "dogscats": {"train/*/*.jpg": 600, "valid/*/*.jpg": 300},
    "imdb": {"train/*/*.txt": 1500, "test/*/*.txt": 500, "train/unsup/*.txt": 500},
    "ml-latest-small": {"*.csv": 4},
    "mnist": {"*-ubyte": 4},
    "nietzsche": {"*.txt": 1},
    "rossmann": {"*.csv": 7},
    "statefarm": {"train/c?/*.jpg": 1556},
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is there but the mirror."""
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setenv("COURSE_MIRROR", str(MIRROR))
    layout._warn_once.cache_clear()
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_what_the_mirror_has_becomes_a_data_set(name, tmp_path, caplog):
    folder = get_data(name, "full")
    assert folder == tmp_path / "data" / "full" / name
    assert {glob: len(list(folder.glob(glob))) for glob in FILES[name]} == FILES[name]
    assert [m.split(",")[0] for m in caplog.messages] == [f"{name}: reduced copy"] * (name in REDUCED)
    assert sorted(p.name for p in folder.parent.iterdir()) == [f".{name}.lock", name]
    before = fingerprint(folder)
    assert get_data(name, "full") == folder
    assert fingerprint(folder) == before
    caplog.clear()
    small = get_data(name, "small")
    assert small == tmp_path / "data" / "small" / name
    assert {glob: len(list(small.glob(glob))) for glob in SMALL[name]} == SMALL[name]
    assert caplog.messages == []
    drawn = [path.relative_to(small) for path in small.glob("*/*/*.*")]  # pictures and texts
    assert all((small / path).read_bytes() == (folder / path).read_bytes() for path in drawn)


@pytest.fixture
def half_a_mirror(home, monkeypatch):
    """A function that makes a mirror of one archive; the registry's addresses lead nowhere."""

    def make(archive):
        mirror = home / "mirror"
        mirror.mkdir(exist_ok=True)
        (mirror / archive).symlink_to(MIRROR / archive)
        monkeypatch.setenv("COURSE_MIRROR", str(mirror))

    def no_network(url, **_):
        raise requests.ConnectionError(f"no network in this test: {url}")

    monkeypatch.setattr(requests, "get", no_network)
    return make


def test_cifar10_without_its_second_part_is_a_reduced_copy(half_a_mirror, caplog):
    half_a_mirror("cifar10.tgz")
    folder = get_data("cifar10", "full")
    counts = {glob: len(list(folder.glob(glob))) for glob in FILES["cifar10"]}
    assert counts == {"train/*/*.png": 20000, "test/*/*.png": 10000}
    mend = f"add what is missing and remove {folder}"
    told = f"train/*/*.png 20000 of 50000, made without cifar10-part2.tgz; to have all, {mend}"
    assert caplog.messages == [f"cifar10: reduced copy, {told}"]


def test_the_digits_are_those_of_mnist(home):
    folder = get_data("mnist", "full")
    pictures = (folder / "train-images-idx3-ubyte").read_bytes()
    digest = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"  # as published
    assert hashlib.sha256(pictures).hexdigest() == digest
    assert struct.unpack(">4I", pictures[:16]) == (2051, 60_000, 28, 28)
    for name, n in {"train": 60_000, "t10k": 10_000}.items():
        labels = (folder / f"{name}-labels-idx1-ubyte").read_bytes()
        assert struct.unpack(">2I", labels[:8]) == (2049, n)
        assert set(labels[8:]) == set(range(10))
