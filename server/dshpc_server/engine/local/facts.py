"""The facts a runner tells, as they stand on the wire and in `exit.json`."""

import errno
import os
import time

from dshpc_server.engine.local import memory, wire
from dshpc_server.engine.local.attempt import Attempt

_REASON_LIMIT = 2000
"""A manifest's command may be as long as it likes; a record has 64 KiB."""
_KILLED = -9
"""How `os.waitstatus_to_exitcode` spells SIGKILL."""
_PERMANENT = frozenset(
    {
        errno.E2BIG,
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.EPERM,
    }
)
"""What is wrong with a command or its folder, and stays so. The others are shortages."""


def started(attempt: Attempt) -> wire.Fact:
    """Its process exists."""
    return {
        "fact": "started",
        "name": attempt.name,
        "at": attempt.started_at,
        "pid": attempt.pid,
    }


def exited(attempt: Attempt, wait_status: int, *, exceeded: bool) -> wire.Fact:
    """Nothing of it lives any more; `exceeded` when it needed more memory than it may.

    A cause stands only when the kill is what ended the main process: one that had just ended by
    itself keeps its own exit code. Memory is told always: the kernel may have killed a child only.
    """
    code = os.waitstatus_to_exitcode(wait_status)
    # A smaller peak is not told apart from the one that it started its life with.
    is_its_own = attempt.peak_bytes > memory.floor_bytes()
    return {
        "fact": "exited",
        "name": attempt.name,
        "at": time.time(),
        "started_at": attempt.started_at,
        "pid": attempt.pid,
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "cause": "OVER_MEMORY" if exceeded else attempt.cause if code == _KILLED else "NONE",
        "cpu_seconds": round(attempt.cpu_seconds, 6),
        "peak_memory_bytes": attempt.peak_bytes if is_its_own else None,
    }


def cancelled_unstarted(name: str) -> wire.Fact:
    """It was cancelled while it waited for its turn: told as killed at once."""
    now = time.time()
    return {
        "fact": "exited",
        "name": name,
        "at": now,
        "started_at": now,
        "pid": 0,
        "exit_code": None,
        "signal": -_KILLED,
        "cause": "CANCELLED",
    }


def not_started(name: str, error: OSError | ValueError) -> wire.Fact:
    """Its process could not be started."""
    reason = error.strerror if isinstance(error, OSError) else None
    return {
        "fact": "not_started",
        "name": name,
        "at": time.time(),
        "reason": (reason or str(error))[:_REASON_LIMIT],
        "is_permanent": not isinstance(error, OSError) or error.errno in _PERMANENT,
    }


def lost(name: str, reason: str) -> wire.Fact:
    """Nothing of it lives and nobody knows how it ended."""
    return {"fact": "lost", "name": name, "at": time.time(), "reason": reason}
