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
# Places in /proc/PID/stat, counted from the state on.
_FLAGS, _ENVIRONMENT_START, _ENVIRONMENT_END = 6, 47, 48
_KERNEL_THREAD = 0x00200000


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    session: int
    start_time: int
    """Clock ticks since boot."""


class Mark(NamedTuple):
    """What an environment told."""

    workspace: str | None
    """Its JOB_WORKSPACE, if any was seen."""
    is_hidden: bool
    """Nothing could be read, but there may be a mark: look again."""


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


BOOT_ID = _boot_id()


def look_up(pid: int) -> Process | None:
    """Return the living process of this number; zombies are not living."""
    fields = _stat(pid)
    # A dead leader of living threads is shown as Z too; it has more than one thread.
    if len(fields) < 20 or (fields[0] in b"ZXx" and int(fields[17]) <= 1):
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]))


def start_time(pid: int) -> int | None:
    """When the process of this number started, living or zombie."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def ticks() -> int:
    """The moment now, on the clock of start times."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_A_SECOND)


def table() -> dict[int, Process]:
    """Every living process."""
    found = map(look_up, listed())
    return {process.pid: process for process in found if process}


def listed() -> list[int]:
    """Every number that is taken, by zombies too."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


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


def mark_of(pid: int) -> Mark:
    """What a process shows of whose it is."""
    try:
        environment = _content(pid, "environ")
    except PermissionError:  # another user's: it never shows it
        return Mark(None, is_hidden=False)
    except OSError:
        environment = b""
    for entry in environment.split(b"\0"):
        if entry.startswith(_MARK):
            return Mark(os.fsdecode(entry[len(_MARK) :]), is_hidden=False)
    return Mark(None, is_hidden=not environment and _may_have_environment(pid))


def workspace_of(pid: int) -> str | None:
    """The JOB_WORKSPACE a process was given; None when it has none or may not be looked at."""
    return mark_of(pid).workspace


def kill(processes: Iterable[Process]) -> None:
    """Send SIGKILL to each that is still the one that was seen."""
    _send(signal.SIGKILL, processes)


def freeze(processes: Iterable[Process]) -> None:
    """Stop each that is still the one that was seen: it forks no more, and nobody sees it die."""
    _send(signal.SIGSTOP, processes)


def _send(number: signal.Signals, processes: Iterable[Process]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            pidfd = os.pidfd_open(process.pid)
            try:
                if start_time(process.pid) == process.start_time:
                    signal.pidfd_send_signal(pidfd, number)
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


def _may_have_environment(pid: int) -> bool:
    """Whether a process of which none could be read may have had one all the same.

    One that is gone, or in the middle of an exec, may; the kernel's own do not, nor does one whose
    environment is known to be empty.
    """
    fields = _stat(pid)
    if not fields:
        return True
    start, end = int(fields[_ENVIRONMENT_START]), int(fields[_ENVIRONMENT_END])
    return not int(fields[_FLAGS]) & _KERNEL_THREAD and (end == 0 or start != end)


def _stat(pid: int) -> list[bytes]:
    """What `stat` tells from the state on; the name before it may hold anything."""
    stat = _read(pid, "stat")
    return stat[stat.rfind(b")") + 2 :].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return _content(pid, name)
    except OSError:  # gone, or another user's
        return b""


def _content(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.readall()
