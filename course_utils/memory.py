"""How much memory is free: the machine's, and what a container or a scheduler leaves of it.

And what happens to memory that a batch has freed.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

__all__ = ["Memory", "keep_freed_memory", "limits", "memory_is_free"]

CGROUPS = Path("/sys/fs/cgroup")  # Linux' control groups
OWN = Path("/proc/self/cgroup")  # this process': a line "0::/a/b", of version 1 "4:memory:/a/b"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
MOST_KEPT = 2**30  # bytes in a row that are free and not given back


class Memory(NamedTuple):
    """Bytes that can still be had, of those there are."""

    free: int
    total: int


def memory_is_free(after: int = 0) -> bool:
    """Whether a quarter of all memory is free once `after` bytes more are taken.

    Of the machine's memory, and of each limit set on this process: in a container one sees the
    memory of its host, and is ended for taking more than the container may.
    """
    machine = psutil.virtual_memory()
    memories = [Memory(machine.available, machine.total), *limits(machine.total)]
    return all(memory.free - after > memory.total / 4 for memory in memories)


def limits(most: int, cgroups: Path = CGROUPS, own: Path = OWN) -> list[Memory]:
    """The limits below `most` bytes on this process, by Linux' control groups; none elsewhere."""
    found = []
    for group in _groups(cgroups, own):
        v2 = _limit(most, group, "memory.max", "memory.current", "inactive_file")
        v1 = _limit(
            most, group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        )
        found += [memory for memory in (v2, v1) if memory is not None]
    return found


@cache  # a process stays in its groups
def _groups(cgroups: Path, own: Path) -> tuple[Path, ...]:
    """The folders of this process' control groups, and of those around them: each has a limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return ()
    folders: list[Path] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":  # version 2
            top = cgroups
        elif "memory" in controllers.split(","):
            top = cgroups / "memory"
        else:
            continue
        group = top / name.lstrip("/")
        folders += [group, *(parent for parent in group.parents if parent.is_relative_to(top))]
    return tuple(folders)


def _limit(most: int, group: Path, limit: str, used: str, cached: str) -> Memory | None:
    """The memory of a group, by the names of its files; None if it has no limit below `most`.

    `cached` is the name, in memory.stat, of what files keep in memory until somebody needs it.
    """
    try:
        total = int((group / limit).read_text())
        if total >= most:  # version 1 has a number for no limit
            return None
        taken = int((group / used).read_text())
        rows = [line.split() for line in (group / "memory.stat").read_text().splitlines()]
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return Memory(total - taken + int(dict(rows)[cached]), total)


@cache  # once a process is enough
def keep_freed_memory() -> bool:
    """Have the next batch take what the one before has freed; whether this was possible.

    By itself GNU's C library gives large blocks back to the system at once, and gets them again,
    for the next batch, page by page and filled with zeros. Other libraries than GNU's stay as they
    are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS; Windows, where None names no library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MOST_KEPT) and mallopt(M_TRIM_THRESHOLD, MOST_KEPT))
