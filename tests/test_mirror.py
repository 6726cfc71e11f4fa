"""A mirror's list of hashes: read as tools and editors leave it, binding for weights as well."""

import hashlib
import logging
from pathlib import Path

import pytest

from course_utils import models
from course_utils.data import DataError, sums

GOOD = b"weights of a network"
HASH = hashlib.sha256(GOOD).hexdigest()
OTHER = "0" * 64


def resnet18() -> None:
    """A network by name only."""


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    (tmp_path / "mirror" / "weights").mkdir(parents=True)
    (tmp_path / "mirror" / "weights" / "resnet18.pth").write_bytes(GOOD)
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(models.torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    return tmp_path / "mirror"


WRITTEN = {
    "plain": f"{HASH}  weights/resnet18.pth\n".encode(),
    "binary mode": f"{HASH} *weights/resnet18.pth\n".encode(),
    "a mark of UTF-8 first": b"\xef\xbb\xbf" + f"{HASH}  weights/resnet18.pth\n".encode(),
    "UTF-16 of Windows": f"{HASH}  weights\\resnet18.pth\r\n".encode("utf-16"),
    "upper case": f"{HASH.upper()}  weights/resnet18.pth\n".encode(),
    "dot": f"{HASH}  ./weights/resnet18.pth\n".encode(),
    "tab": f"{HASH}\tweights/resnet18.pth\r\n".encode(),
    "other lines": f"# a comment\n\n{OTHER}  b.zip\n  {HASH}   weights//resnet18.pth  \nhello\n".encode(),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_the_list_is_read_as_it_is_written(mirror, written, caplog):
    (mirror / "SHA256SUMS").write_bytes(written)
    assert models.weights_file(resnet18) == mirror / "weights" / "resnet18.pth"
    assert caplog.messages == []


FAULTS = {
    "another hash": (f"{OTHER}  weights/resnet18.pth", f"expected {OTHER}, found {HASH}"),
    "not on it": (f"{HASH}  resnet18.pth", "expected (none in {list}), found"),
    "short hash": (f"{HASH[1:]}  weights/resnet18.pth", "(none in {list}; line 1 is no HASH  NAME), found"),
    "BSD": (f"\nSHA256 (weights/resnet18.pth) = {HASH}", "(none in {list}; line 2 is no HASH  NAME), found"),
    "two": (
        f"{HASH}  weights/resnet18.pth\n{OTHER}  ./weights/resnet18.pth",
        "(none in {list}; line 2 has a second hash of weights/resnet18.pth), found",
    ),
}


@pytest.mark.parametrize(("written", "told"), FAULTS.values(), ids=FAULTS)
def test_weights_that_the_list_refuses_are_passed_over_with_a_warning(mirror, tmp_path, written, told, caplog):
    (mirror / "SHA256SUMS").write_text(written)
    assert models.weights_file(resnet18) is None
    (line,) = caplog.messages
    file = mirror / "weights" / "resnet18.pth"
    assert line.startswith(f"passed over: {file}: weights/resnet18.pth refused: sha256 ")
    assert told.format(list=mirror / "SHA256SUMS") in line
    cached = tmp_path / "cache" / "checkpoints" / "resnet18.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"those of torch's cache")
    assert models.weights_file(resnet18) == cached


def test_weights_of_a_mirror_without_a_list_are_taken(mirror, caplog):
    with caplog.at_level(logging.WARNING):
        assert models.weights_file(resnet18) == mirror / "weights" / "resnet18.pth"
    assert caplog.messages == []


def test_a_list_that_is_no_text_is_named(mirror):
    (mirror / "SHA256SUMS").write_bytes(HASH.encode() + b"  caf\xe9.zip")
    with pytest.raises(DataError, match=r"SHA256SUMS: not in UTF-8 \(.* at byte 69\)$"):
        sums.read_sums(mirror)
