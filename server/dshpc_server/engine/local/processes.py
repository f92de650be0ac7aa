"""What /proc tells about processes: who descends from whom, who belongs to which attempt.

A pid alone names nothing for long; here a process is (pid, start time), and a signal is sent
through a pidfd that was opened before the start time was compared.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

_MARK = b"JOB_WORKSPACE="
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    session: int
    start_time: int
    """Clock ticks since boot."""


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


BOOT_ID = _boot_id()


def look_up(pid: int) -> Process | None:
    """Return the living process of this number; zombies are not living."""
    stat = _read(pid, "stat")
    fields = stat[stat.rfind(b")") + 2 :].split()
    # A dead leader of living threads is shown as Z too; it has more than one thread.
    if len(fields) < 20 or (fields[0] in b"ZXx" and int(fields[17]) <= 1):
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]))


def start_time(pid: int) -> int | None:
    """When the process of this number started, living or zombie."""
    stat = _read(pid, "stat")
    return int(stat[stat.rfind(b")") + 2 :].split()[19]) if stat else None


def ticks() -> int:
    """The moment now, on the clock of start times."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_A_SECOND)


def table() -> dict[int, Process]:
    """Every living process."""
    found = (look_up(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process}


def own_children() -> set[int]:
    """Children of this process, zombies too; adopted orphans among them."""
    # The list is exact for a parent of one thread: nobody else can reap from it meanwhile.
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as file:
            return {int(child) for child in file.readall().split()}
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return {process.pid for process in table().values() if process.parent == pid}


def with_descendants(processes: Mapping[int, Process], roots: Iterable[int]) -> set[int]:
    """Return the roots that live and everything that descends from them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    family: set[int] = set()
    waiting = [pid for pid in roots if pid in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in family:
            family.add(pid)
            waiting += children.get(pid, ())
    return family


def workspace_of(pid: int) -> str | None:
    """The JOB_WORKSPACE a process was given; None when it has none or may not be looked at."""
    for entry in _read(pid, "environ").split(b"\0"):
        if entry.startswith(_MARK):
            return os.fsdecode(entry[len(_MARK) :])
    return None


def shows_environment(pid: int) -> bool:
    """Whether its environment can be read: not in the middle of an exec, nor when it is empty."""
    return bool(_read(pid, "environ"))


def kill(processes: Iterable[Process]) -> None:
    """Send SIGKILL to each that is still the one that was seen."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            pidfd = os.pidfd_open(process.pid)
            try:
                if start_time(process.pid) == process.start_time:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)


def resident_bytes(pids: Collection[int]) -> int:
    """Resident memory of these processes; what they share is counted for each."""
    fields = (_read(pid, "statm").split() for pid in pids)
    return sum(int(field[1]) for field in fields if field) * _PAGE_BYTES


def proportional_bytes(pids: Collection[int]) -> int:
    """Resident memory of these processes; what they share is divided among its users."""
    total_kib = 0
    for pid in pids:
        for line in _read(pid, "smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                total_kib += int(line.split()[1])
    return total_kib * 1024


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.readall()
    except OSError:  # gone, or another user's
        return b""
