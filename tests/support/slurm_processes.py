"""Processes of a Slurm cluster for tests: daemons that are started, and what they left behind.

Promise: a daemon inherits nothing but an empty input and a file for what it says, and everything
is ended by its pid. Who is dead and not yet waited for counts as gone.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence

PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.01


class Daemon:
    """One program that serves in the foreground, and its children."""

    def __init__(
        self, words: Sequence[str], *, log: pathlib.Path, environment: Mapping[str, str]
    ) -> None:
        self.name = pathlib.Path(words[0]).name
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(environment),
                cwd=log.parent,
                start_new_session=True,  # what ends a terminal's programs is not for it
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Have it end as it likes to; kill it if that takes long."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it alone; what it has started lives on."""
        self._process.kill()
        self._process.wait()


def kill(pids: Collection[int]) -> None:
    """Kill these processes and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert until(lambda: not any(is_alive(pid) for pid in pids)), f"{pids} do not go"


def jobs_of(slurm_conf: pathlib.Path) -> set[int]:
    """The processes of this cluster's jobs, with those that look after them (slurmstepd)."""
    mark = f"SLURM_CONF={slurm_conf}".encode()
    ours = [pid for pid in _all() if mark in _environment(pid)]
    # A server or a command that was given this cluster's environment is no job of it.
    found = {pid for pid in ours if _name(pid) == "slurmstepd" or _is_in_a_job(pid)}
    return found | _descendants(found)


def children_of(pid: int) -> set[int]:
    """The children of all its threads."""
    lists = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return {int(word) for path in lists for word in _read(path).split()}


def is_alive(pid: int) -> bool:
    """Whether it runs."""
    status = _read(pathlib.Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return bool(status) and status[0] not in b"ZX"


def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait for a fact; answer whether it came about in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _descendants(pids: set[int]) -> set[int]:
    found: set[int] = set()
    at_hand = list(pids)
    while at_hand:
        new = children_of(at_hand.pop()) - found
        found |= new
        at_hand += new
    return found


def _all() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - names


def _is_in_a_job(pid: int) -> bool:
    return any(word.startswith(b"SLURM_JOB_ID=") for word in _environment(pid))


def _name(pid: int) -> str:
    return _read(pathlib.Path(f"/proc/{pid}/comm")).decode(errors="replace").strip()


def _environment(pid: int) -> list[bytes]:
    return _read(pathlib.Path(f"/proc/{pid}/environ")).split(b"\0")


def _read(path: pathlib.Path) -> bytes:
    """What is there, or nothing: a process may go at any time."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
