"""What is made once: several processes that ask for it, some that are killed, and disks that fill."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Server

ROOT = Path(__file__).resolve().parents[1]
FILES = {f"train/{k}/{i}.txt": os.urandom(30_000) for k in "ab" for i in (1, 2)}
SAMPLE = {"a.txt": b"a" * 20_000, "b/c.txt": b"2" * 20_000}
MINE = {"models/x.pt": b"weights", "notes/mine.txt": b"mine"}
CHANGED = b"changed by hand"


def tarred() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(f"pets/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return raw.getvalue()


PETS = tarred()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hashes(folder: str, files: dict[str, bytes]) -> dict[str, str]:
    return {f"{folder}/{name}": digest(data) for name, data in files.items()}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"pets.tgz": PETS}) as started:
        yield started


@pytest.fixture
def job(tmp_path, server) -> dict:
    """What a process is asked for; `template` is the home for data that it finds."""
    (tmp_path / "template" / "data").mkdir(parents=True)
    lines = ["[pets]", 'title = "Pets"', 'alternatives = ["pets.tgz"]', 'licence = "CC0"', 'citation = "Noah"']
    lines += ['layout = { "train/a/*.txt" = 2, "train/b/*.txt" = 2 }', "[pets.urls]"]
    lines += [f'"pets.tgz" = ["{server.url("pets.tgz")}"]']
    (tmp_path / "registry.toml").write_text("\n".join(lines))
    places = {name: str(tmp_path / name) for name in ("template", "root")}
    return places | {"registry": str(tmp_path / "registry.toml"), "set": "pets", "name": "download"}


def run(job: dict) -> dict:
    command = [sys.executable, str(ROOT / "tests" / "asking.py"), json.dumps(job)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def template(job: dict) -> Path:
    return Path(job["template"], "data")


def parts(left: dict[str, str], folder: str) -> dict[str, str]:
    """What is visible in a folder of the data."""
    found = {name: content for name, content in left.items() if name.startswith(f"{folder}/")}
    return {name: content for name, content in found.items() if not name.removeprefix(f"{folder}/").startswith(".")}


def check_fault(case: dict, fault: str) -> None:
    """It came; a full disk is one line, and a process that went on without what failed ended well."""
    assert case["last"] == 0
    if fault == "kill":
        assert case["status"] == 9, case["told"]
    else:
        assert case["status"] == 0
        assert len(case["told"].splitlines()) == 1
        assert case["told"].isdigit() or "is full: " in case["told"] or "No space left" in case["told"], case["told"]


WHOLE = hashes("full/pets", FILES)


def check_full(cases: dict[str, list[dict]]) -> None:
    """The data set is whole or not there, its archive whole or not under its name; then all is."""
    for fault, found in cases.items():
        for case in found:
            check_fault(case, fault)
            assert parts(case["left"], "full") in ({}, WHOLE), case
            assert case["left"].get("archives/pets.tgz") in (None, digest(PETS))
            assert case["answer"].endswith("/data/full/pets")
            assert case["end"] == WHOLE | {"archives/pets.tgz": digest(PETS)}, case


def test_a_download_that_is_killed_or_meets_a_full_disk(job):
    check_full(run(job | {"faults": {"kill": 8, "full": 7}}))


def test_an_archive_whose_unpacking_is_killed_or_meets_a_full_disk(job):
    write(template(job) / "archives", {"pets.tgz": PETS})
    check_full(run(job | {"name": "unpack", "faults": {"kill": 8, "full": 7}}))


def sample_of(files: dict[str, bytes], version: int) -> dict[str, bytes]:
    """With the two hidden files of a sample."""
    made = "".join(f"{digest(data)}  {name}\n" for name, data in sorted(files.items()))
    return files | {".version": f"{version}\n".encode(), ".made": made.encode()}


def test_a_build_that_is_killed_or_meets_a_full_disk(job):
    job |= {"name": "build", "set": "toy", "version": 2, "faults": {"kill": 8, "full": 5}}
    made = hashes("sample/toy", sample_of(SAMPLE, 2))
    for fault, found in run(job).items():
        for case in found:
            check_fault(case, fault)
            assert parts(case["left"], "sample") in ({}, made), case
            assert case["end"] == made


def test_a_build_over_a_learners_work_that_is_killed_or_meets_a_full_disk(job):
    """Of an older version: weights, a file of one's own and one that was changed are there all the time."""
    job |= {"name": "rebuild", "set": "toy", "version": 2, "faults": {"kill": 12, "full": 6}}
    older = sample_of(SAMPLE | {"b/c.txt": b"1" * 20_000, "gone.txt": b"made"}, 1)
    old = older | MINE | {"b/c.txt": CHANGED}
    write(template(job) / "sample" / "toy", old)
    before = hashes("sample/toy", old)
    made = hashes("sample/toy", sample_of(SAMPLE, 2) | MINE)
    for fault, found in run(job).items():
        for case in found:
            check_fault(case, fault)
            visible = parts(case["left"], "sample/toy")
            now = {name: content for name, content in case["left"].items() if name.startswith("sample/toy/")}
            assert not visible or now in (before, made), case
            assert {digest(data) for data in [*MINE.values(), CHANGED]} <= set(case["left"].values())
            assert case["end"] == made | hashes("sample/toy-kept", {"b/c.txt": CHANGED}), case


def test_eight_that_ask_for_a_full_set_at_once_fetch_it_once(job, server):
    found = run(job | {"many": 8})
    assert found["many"] == [f"{job['root']}/data/full/pets"] * 8
    assert found["end"] == WHOLE | {"archives/pets.tgz": digest(PETS)}
    assert server.log == [""]


def test_eight_that_ask_for_a_sample_at_once_build_it_once(job):
    found = run(job | {"set": "toy", "version": 2, "many": 8})
    assert found["many"] == [f"{job['root']}/data/sample/toy"] * 8
    assert found["end"] == hashes("sample/toy", sample_of(SAMPLE, 2))
    assert Path(job["root"], "builds").read_text() == "x"


def test_two_sets_with_one_archive_fetch_it_once(job, server):
    """Each has a lock of its own, and the archive has a third."""
    text = Path(job["registry"]).read_text()
    Path(job["registry"]).write_text(text + "\n" + text.replace("[pets", "[twin"))
    found = run(job | {"sets": ["pets", "twin"], "many": 4})
    assert found["many"] == [f"{job['root']}/data/full/{name}" for name in ("pets", "twin", "pets", "twin")]
    assert found["end"] == WHOLE | hashes("full/twin", FILES) | {"archives/pets.tgz": digest(PETS)}
    assert server.log == [""]
