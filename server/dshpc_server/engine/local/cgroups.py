"""Attempts in control groups (v2): membership that nothing escapes, and one kill for all.

The runner moves itself into the attempt's group, spawns, and so the process is born there; moving
a process afterwards would miss what it started meanwhile. One move costs about 0.05 ms, and none
when the runner is there already. A group without limits is used again by the next attempt.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection

from dshpc_server.engine.local import processes
from dshpc_server.engine.local.attempt import Attempt, Slot

_PURGE_SECONDS = 5.0


class GroupTree:
    """One group a slot, under the runner's own group of groups."""

    name = "cgroup-v2"

    def __init__(self, *, group: str, home: str) -> None:
        self.group = group
        """The directory that holds the slots."""
        self._home = home
        """The directory of the group the runner came from."""
        self._inside: Slot | None = None
        """Where the runner itself is; None = at home."""
        self._free: list[Slot] = []
        self._made = 0

    def enter(self) -> Slot:
        """Move the runner into a free slot."""
        slot = self._free_slot()
        if slot is not self._inside:
            try:
                os.write(slot.procs_fd, b"0")
            except OSError:
                self._free.append(slot)
                raise
            self._inside = slot
        return slot

    def go_home(self) -> None:
        """Move the runner out of every slot."""
        if self._inside is not None:
            write(f"{self._home}/cgroup.procs", "0")
            self._inside = None

    def members(self, attempt: Attempt) -> Collection[int]:
        """What the kernel lists, without the runner."""
        me = os.getpid()
        listed = _read_all(attempt.slot.procs_fd).split()
        return [pid for pid in map(int, listed) if pid != me]

    def kill(self, attempt: Attempt) -> None:
        """Kill the group; the kernel lets nothing be born in it meanwhile."""
        if attempt.slot is self._inside:
            self.go_home()
        if attempt.wait_status is None:  # until it is reaped the number is its own
            os.kill(attempt.pid, signal.SIGKILL)
        kill_group(attempt.slot.path)

    def is_gone(self, attempt: Attempt) -> bool:
        """Whether the group is empty, and has no groups below; kills it when it is not."""
        if _has_groups(attempt.slot.path):
            attempt.slot.is_spoilt = True
            self.kill(attempt)
            _remove_below(attempt.slot.path)
            return False
        if not self.members(attempt):
            return True
        self.kill(attempt)
        return False

    def leave(self, slot: Slot) -> None:
        """Keep the slot for the next attempt, if it is fit for one."""
        if slot.is_spoilt:
            self.remove(slot)
        else:
            self._free.append(slot)

    def remove(self, slot: Slot) -> None:
        """Give up an empty slot that is not fit for another attempt."""
        if slot is self._inside:
            self.go_home()
        os.close(slot.procs_fd)
        with contextlib.suppress(OSError):  # something holds it: purged at the end
            os.rmdir(slot.path)

    def close(self) -> None:
        """Remove every group."""
        self.go_home()
        for slot in self._free:
            os.close(slot.procs_fd)
        self._free.clear()
        purge(self.group)

    def _free_slot(self) -> Slot:
        if self._inside in self._free:
            self._free.remove(self._inside)
            return self._inside
        if self._free:
            return self._free.pop()
        path = f"{self.group}/slot-{self._made}"
        self._made += 1
        os.mkdir(path)
        return Slot(path=path, procs_fd=os.open(f"{path}/cgroup.procs", os.O_RDWR | os.O_CLOEXEC))


def write(path: str, text: str) -> None:
    """Write a control file. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read(path: str) -> str:
    """Read a control file; empty when it is not there."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def kill_group(path: str) -> None:
    """Kill everything in a group, or all that is seen in it on kernels before 5.14."""
    try:
        write(f"{path}/cgroup.kill", "1")
    except FileNotFoundError:
        found = (processes.look_up(int(pid)) for pid in read(f"{path}/cgroup.procs").split())
        processes.kill([process for process in found if process])


def _has_groups(path: str) -> bool:
    # A folder of this file system has a link for each folder in it, and two of its own.
    return os.stat(path).st_nlink > 2


def _remove_below(path: str) -> None:
    """Kill and remove the groups in a group; those that are not empty yet stay."""
    for member, _, _ in os.walk(path, topdown=False):
        if member != path:
            with contextlib.suppress(OSError):
                kill_group(member)
                os.rmdir(member)


def purge(group: str) -> bool:
    """End everything in a group of groups and remove it; whether that was done in 5 s."""
    deadline = time.monotonic() + _PURGE_SECONDS
    while os.path.isdir(group) and time.monotonic() < deadline:
        for member, _, _ in os.walk(group, topdown=False):
            if read(f"{member}/cgroup.procs"):
                kill_group(member)
            with contextlib.suppress(OSError):  # not empty yet
                os.rmdir(member)
        if os.path.isdir(group):
            time.sleep(0.005)
    return not os.path.isdir(group)


def _read_all(fd: int) -> bytes:
    parts, offset = [], 0
    while part := os.pread(fd, 65536, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
