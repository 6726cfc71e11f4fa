import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from course_utils import memory
from course_utils.files import ROOT
from course_utils.memory import Memory, limits, memory_is_free

GIB = 2**30
FILES = {  # limit, use, and what memory.stat calls that which can go
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Files as Linux has them in /sys/fs/cgroup, for a machine of 64 GiB, half of it free."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=32 * GIB, total=64 * GIB))
    top, own = tmp_path / "cgroup", tmp_path / "own"

    def belongs_to(*lines):
        own.write_text("".join(f"{line}\n" for line in lines))

    def group(version, name, limit, used=0, cached=0):
        folder = top.joinpath("memory" if version == 1 else "", name)
        folder.mkdir(parents=True, exist_ok=True)
        limit_file, used_file, row = FILES[version]
        (folder / limit_file).write_text(f"{limit}\n")
        (folder / used_file).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 4096\n{row} {cached}\nactive_file 8192\n")

    monkeypatch.setattr(memory, "limits", lambda most: limits(most, top, own))
    return SimpleNamespace(belongs_to=belongs_to, group=group, found=lambda: limits(64 * GIB, top, own))


CONTAINER = {2: ["0::/"], 1: ["9:name=systemd:/", "4:cpu,memory:/", "0::/"]}


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_has_its_limit_not_the_memory_of_its_host(fake, version):
    fake.belongs_to(*CONTAINER[version])
    fake.group(version, "", 8 * GIB, used=7 * GIB)
    assert fake.found() == [Memory(GIB, 8 * GIB)]
    assert not memory_is_free()  # of 64 GiB half are free, of 8 GiB only one


@pytest.mark.parametrize("version", [1, 2])
def test_files_kept_in_memory_make_room_when_it_is_needed(fake, version):
    """Else a container that has read a few gigabytes of pictures would seem full."""
    fake.belongs_to(*CONTAINER[version])
    fake.group(version, "", 8 * GIB, used=7 * GIB, cached=3 * GIB)
    assert fake.found() == [Memory(4 * GIB, 8 * GIB)]
    assert memory_is_free()


@pytest.mark.parametrize(("version", "unlimited"), [(2, "max"), (1, 9223372036854771712), (2, 64 * GIB)])
def test_a_group_without_limit_has_the_memory_of_the_machine(fake, version, unlimited):
    fake.belongs_to(*CONTAINER[version])
    fake.group(version, "", unlimited, used=60 * GIB)
    assert fake.found() == []
    assert memory_is_free()


@pytest.mark.parametrize(("version", "line"), [(2, "0::/jobs/17/step"), (1, "4:memory:/jobs/17/step")])
def test_each_group_around_a_process_can_limit_it(fake, version, line):
    fake.belongs_to(line)
    fake.group(version, "jobs/17/step", 8 * GIB, used=GIB)
    fake.group(version, "jobs/17", "max" if version == 2 else 2**62)
    fake.group(version, "jobs", 16 * GIB, used=15 * GIB)
    fake.group(version, "jobs/18", GIB, used=GIB)  # of another process
    assert fake.found() == [Memory(7 * GIB, 8 * GIB), Memory(GIB, 16 * GIB)]
    assert not memory_is_free()


def test_a_group_that_the_container_does_not_see_under_its_name(fake):
    """Version 1 tells a process in a container the name that its host uses."""
    fake.belongs_to("4:memory:/docker/0a1b2c")
    fake.group(1, "", 4 * GIB, used=GIB)
    assert fake.found() == [Memory(3 * GIB, 4 * GIB)]


def test_without_control_groups_the_machine_counts(fake):
    assert fake.found() == []
    assert memory_is_free()


def test_a_quarter_is_free_after_so_many_bytes(fake, monkeypatch):
    assert memory_is_free(after=16 * GIB - 1)
    assert not memory_is_free(after=16 * GIB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=16 * GIB, total=64 * GIB))
    assert not memory_is_free()


def test_the_machine_these_tests_run_on():
    total = memory.psutil.virtual_memory().total
    for found in limits(total):
        assert found.free <= found.total < total


PAGES = """
import resource, sys
import torch
from course_utils.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    torch.ones(5_000_000)  # 20 MB, freed at once
for _ in range(5):
    use()
before = faults()
for _ in range(100):
    use()
print(faults() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not GNU's C library")
def test_a_block_that_was_freed_is_taken_again():
    """The kernel counts how often it hands out pages: for each block anew, or for none."""
    pages = {}
    for way in ("given back", "kept"):
        command = [sys.executable, "-c", PAGES, way]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        pages[way] = int(done.stdout)
    assert pages["given back"] > 100
    assert pages["kept"] < pages["given back"] / 10


def test_other_libraries_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert memory.keep_freed_memory.__wrapped__() is False
