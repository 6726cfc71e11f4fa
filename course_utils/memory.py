"""How much memory is free: the machine's, and what a container or a scheduler leaves of it."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

__all__ = ["Memory", "limits", "memory_is_free"]

CGROUPS = Path("/sys/fs/cgroup")  # Linux' control groups
OWN = Path("/proc/self/cgroup")  # this process': a line "0::/a/b", of version 1 "4:memory:/a/b"


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
