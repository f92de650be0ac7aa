"""The fake nodes' processes: a task is a process in a session of its own; its step is its tree.

As Slurm without control groups does, a step is found by who descends from the task's process: what
has detached itself is missed. Nothing outlives the controller all the same: it is the reaper of
whatever its tasks leave, and ends with `kill_all`.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from support import fake_slurm_jobs as jobs

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE_SECONDS = 0.005

Ended = Callable[[jobs.Task, int], None]
"""Told when a task's own process ended, and how (as os.waitstatus_to_exitcode does)."""


def adopt_orphans() -> None:
    """What the tasks leave becomes this process's child."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


class Processes:
    """The processes of all tasks."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self._tasks: dict[int, tuple[jobs.Task, subprocess.Popen[bytes]]] = {}

    def start(self, task: jobs.Task, environment: dict[str, str]) -> None:
        """Start a task. Raises OSError if it cannot."""
        array = task.array
        with contextlib.ExitStack() as files:
            stdin = files.enter_context(_path(task, array.stdin).open("rb"))
            stdout = files.enter_context(_path(task, array.stdout).open("wb"))
            stderr = stdout
            if array.stderr:
                stderr = files.enter_context(_path(task, array.stderr).open("wb"))
            process = subprocess.Popen(
                [array.script, *array.arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=array.folder,
                env=environment,
                start_new_session=True,
            )
        task.pid = process.pid
        self._tasks[process.pid] = (task, process)

    def reap(self) -> None:
        """Take note of every process that ended, orphans included."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._tasks:
                task, process = self._tasks.pop(pid)
                task.used = (used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
                process.returncode = os.waitstatus_to_exitcode(status)
                self._ended(task, process.returncode)

    def is_alive(self, task: jobs.Task) -> bool:
        """Whether its own process has not ended."""
        return task.pid in self._tasks

    def expects(self, task: jobs.Task, number: int) -> bool:
        """Whether a signal would not end its own process: it catches or ignores it."""
        try:
            status = pathlib.Path(f"/proc/{task.pid}/status").read_text()
        except OSError:
            return False
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return bool((int(fields["SigCgt"], 16) | int(fields["SigIgn"], 16)) & 1 << number - 1)

    def signal(self, task: jobs.Task, number: int) -> None:
        """Its own process alone."""
        if task.pid is not None and self.is_alive(task):
            _kill(task.pid, number)

    def signal_step(self, task: jobs.Task, *numbers: int) -> None:
        """All its processes, as far as they are known."""
        if task.pid is None or not self.is_alive(task):
            return
        step = [task.pid, *_descendants(task.pid)]
        for number in numbers:
            for pid in step:
                _kill(pid, number)

    def kill_all(self) -> None:
        """Nothing of what was started is left, however it detached itself."""
        while found := list(_descendants(os.getpid())):
            for pid in found:
                _kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(_PAUSE_SECONDS)


def _path(task: jobs.Task, pattern: str) -> pathlib.Path:
    values = {
        "%": "%",
        "A": str(task.array.id),
        "a": "4294967294" if task.index is None else str(task.index),
        "j": str(task.number),
        "J": str(task.number),
        "N": task.node,
        "u": task.array.user,
        "x": task.array.name,
    }
    first, *parts = pattern.split("%") if "%%" not in pattern else [pattern]
    return task.array.folder / (
        first + "".join(values.get(part[:1], "%" + part[:1]) + part[1:] for part in parts)
    )


def _descendants(root: int) -> Iterator[int]:
    """Children before their children; what has ended and is not reaped is left out."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text(errors="replace")
                state, parent = stat.rpartition(")")[2].split()[:2]
                if state != "Z" or int(parent) != os.getpid():
                    children.setdefault(int(parent), []).append(int(entry.name))
    left = [root]
    while left:
        found = children.get(left.pop(), [])
        yield from found
        left += found


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
