"""Processes of the server that no Python of their own has started: they are forked off one.

A Python that starts takes most of a second of a processor until it has loaded the server, and the
tests start hundreds. Promise: what is started here does what `python -m dshpc_server` does, in a
process of its own with a folder, an environment, an output and an end of its own; only /proc tells
the command line and the environment of what it was forked off. That is one process for all that a
process of tests starts, and it ends with it.
"""

import atexit
import contextlib
import functools
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence

_SUPPORT = pathlib.Path(__file__).parent
_AS_IT_LOADS = ("LD_", "PYTHON", "GRPC_")
"""Begin the names of variables that count when a program is loaded, and not later."""
_STOP_SECONDS = 10.0


def can_have(environment: Mapping[str, str]) -> bool:
    """Whether what is forked off the one that is loaded is as if it had had this environment."""
    return all(
        os.environ.get(name) == value
        for name, value in environment.items()
        if name.startswith(_AS_IT_LOADS)
    )


class Process:
    """One process, to be used as one of subprocess's."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], *, stdout: int, stderr: int
    ) -> None:
        """Start the server with these words; `stdout` and `stderr` are descriptors."""
        self.args = list(words)
        self.returncode: int | None = None
        self._lock = threading.Lock()
        report, its = os.pipe()
        self._report = os.fdopen(report, "rb", buffering=0)
        try:
            _origin().ask(words, environment, [stdout, stderr, its])
        finally:
            os.close(its)
        self.pid = self._told()

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its exit code, which is that of subprocess. Raises TimeoutExpired."""
        with self._lock:
            if self.returncode is None:
                if not select.select([self._report], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
                self.returncode = self._told()
                self._report.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it just has
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _told(self) -> int:
        line = self._report.readline()
        assert line, "the process that others are forked off has ended"
        return int(line)


def run(
    words: Sequence[str], *, environment: Mapping[str, str] = os.environ, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command of the server to its end. Raises TimeoutExpired, and leaves nothing then."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = Process(words, environment, stdout=stdout.fileno(), stderr=stderr.fileno())
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess(process.args, code, stdout.read(), stderr.read())


class _Origin:
    """The process that others are forked off."""

    def __init__(self) -> None:
        # Who sends a message sends it whole, whichever thread it is.
        self._asking, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.loaded_origin", str(its.fileno())],
                env={**os.environ, "PYTHONPATH": str(_SUPPORT.parent)},
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )

    def ask(
        self, words: Sequence[str], environment: Mapping[str, str], descriptors: list[int]
    ) -> None:
        wanted = {
            "words": list(words),
            "environment": dict(environment),
            "folder": str(pathlib.Path.cwd()),
        }
        socket.send_fds(self._asking, [json.dumps(wanted).encode()], descriptors)

    def end(self) -> None:
        self._asking.close()
        self._process.wait(_STOP_SECONDS)


@functools.cache
def _origin() -> _Origin:
    made = _Origin()
    atexit.register(made.end)
    return made
