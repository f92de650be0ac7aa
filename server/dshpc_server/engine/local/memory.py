"""Limits on the memory of an attempt's whole tree, by what the machine has to offer.

With a memory controller the kernel stops the tree at the limit. Without one the runner looks
every 100 ms, so a burst between two looks passes unless one process alone was over at its peak.
"""

import contextlib
import os
import resource
from typing import Protocol

from dshpc_server.engine.local import cgroups, processes
from dshpc_server.engine.local.attempt import Attempt
from dshpc_server.engine.local.tree import Tree


class Memory(Protocol):
    """Limits memory. Asked only about attempts that have a limit."""

    name: str

    def limit(self, attempt: Attempt) -> None:
        """Put the limit on a process that was just spawned, and on all it will start."""
        ...

    def is_exceeded(self, attempt: Attempt) -> bool:
        """Whether the attempt needed more than it may."""
        ...

    def release(self, attempt: Attempt) -> None:
        """Take the limit and the attempt's slot back; nothing of it lives."""
        ...


class MemoryV2:
    """The slot's own memory controller."""

    name = "cgroup-v2"

    def __init__(self, tree: cgroups.GroupTree) -> None:
        self._tree = tree

    def limit(self, attempt: Attempt) -> None:
        """Limit the slot, swap included, once the runner has left it."""
        self._tree.go_home()
        path = attempt.slot.path
        with contextlib.suppress(FileNotFoundError):  # a kernel that does not account swap
            cgroups.write(f"{path}/memory.swap.max", "0")
        cgroups.write(f"{path}/memory.oom.group", "1")
        cgroups.write(f"{path}/memory.max", str(attempt.memory_bytes))

    def is_exceeded(self, attempt: Attempt) -> bool:
        """Whether the kernel had to kill."""
        return _counter(f"{attempt.slot.path}/memory.events", "oom_kill") > 0

    def release(self, attempt: Attempt) -> None:
        """Remove the slot: its counters and what it left in the page cache go with it."""
        self._tree.remove(attempt.slot)


class MemoryV1:
    """A group of the v1 memory controller beside the slot (a hybrid machine)."""

    name = "cgroup-v1"

    def __init__(self, *, group: str, tree: cgroups.GroupTree) -> None:
        self.group = group
        self._tree = tree
        self._made = 0

    def limit(self, attempt: Attempt) -> None:
        """Make a group for the attempt and move everything of it there."""
        path = f"{self.group}/attempt-{self._made}"
        self._made += 1
        os.mkdir(path)
        attempt.memory_group = path
        limit = str(attempt.memory_bytes)
        cgroups.write(f"{path}/memory.limit_in_bytes", limit)
        with contextlib.suppress(FileNotFoundError):  # a kernel that does not account swap
            cgroups.write(f"{path}/memory.memsw.limit_in_bytes", limit)
        moved: set[int] = set()
        # What it starts after its move is born here; what it started before is in the slot.
        while left := set(self._tree.members(attempt)) - moved:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    cgroups.write(f"{path}/cgroup.procs", str(pid))
            moved |= left

    def is_exceeded(self, attempt: Attempt) -> bool:
        """Whether the kernel had to kill."""
        return _counter(f"{attempt.memory_group}/memory.oom_control", "oom_kill") > 0

    def release(self, attempt: Attempt) -> None:
        """Remove the attempt's group and keep its slot."""
        if attempt.memory_group:
            with contextlib.suppress(OSError):  # a dying process holds it: purged at the end
                os.rmdir(attempt.memory_group)
        self._tree.leave(attempt.slot)


class PolledMemory:
    """What /proc tells, looked at now and then."""

    name = "polled"

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def limit(self, attempt: Attempt) -> None:
        """Do nothing."""

    def is_exceeded(self, attempt: Attempt) -> bool:
        """Whether the tree is over now, or one process was over at its peak."""
        if attempt.peak_bytes > max(attempt.memory_bytes, floor_bytes()):
            return True
        if attempt.wait_status is not None:
            return False
        members = self._tree.members(attempt)
        # The dear, exact figure only when the cheap one, which counts shared pages twice, is over.
        return (
            processes.resident_bytes(members) > attempt.memory_bytes
            and processes.proportional_bytes(members) > attempt.memory_bytes
        )

    def release(self, attempt: Attempt) -> None:
        """Take the slot back."""
        self._tree.leave(attempt.slot)


def floor_bytes() -> int:
    """The peak that a process starts its life with: that of the runner, which spawned it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _counter(path: str, name: str) -> int:
    for line in cgroups.read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
