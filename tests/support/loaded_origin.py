"""The process that has loaded all of the server, and forks off what the tests start.

Run as a module by `loaded`, with the descriptor of a socket. Each message on it asks for one
process and brings its output, its error, and a pipe that is told its id and, when it has ended, its
exit code. When the other end of the socket closes, whatever is left is killed.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

_MODULES = (
    "dshpc_server.app",
    "dshpc_server.maintenance",
    # What these load when they need it.
    "alembic.command",
    "alembic.autogenerate",
    "encodings.idna",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
)
_MESSAGE_BYTES = 2**20


class Origin:
    """What the process has."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._reports: dict[int, int] = {}
        """By process, the pipe on which its end is told."""
        self._news, write_fd = os.pipe()
        for fd in (self._news, write_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(write_fd)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> list[str] | None:
        """Serve until nobody asks any more; in a process that was forked off, return its words."""
        while True:
            ready, _, _ = select.select([self._asked.fileno(), self._news], [], [])
            if self._news in ready:
                os.read(self._news, 4096)
                self._report_ends()
            if self._asked.fileno() in ready:
                message, fds, _, _ = socket.recv_fds(self._asked, _MESSAGE_BYTES, 3)
                if not message:
                    return None
                wanted = json.loads(message)
                if self._fork(fds):
                    return _become(wanted)

    def end(self) -> None:
        """Kill what is left."""
        for pid in self._reports:
            os.kill(pid, signal.SIGKILL)

    def _fork(self, fds: list[int]) -> bool:
        """Fork; whether this is the new process, which has nothing but its output and error."""
        out, error, report = fds
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self._asked.detach()
            os.dup2(out, 1)
            os.dup2(error, 2)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            return True
        os.write(report, b"%d\n" % pid)
        self._reports[pid] = report
        os.close(out)
        os.close(error)
        return False

    def _report_ends(self) -> None:
        while self._reports:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            report = self._reports.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # who started it has gone
                os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(report)


def _become(wanted: dict[str, Any]) -> list[str]:
    """Be as a process that was started so."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    words: list[str] = wanted["words"]
    return words


def main() -> int:
    """DESCRIPTOR."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever started us ends us
    command = importlib.import_module("dshpc_server.__main__")
    for name in _MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    origin = Origin(socket.socket(fileno=int(sys.argv[1])))
    words = origin.serve()
    if words is None:
        origin.end()
        return 0
    sys.argv = ["dshpc-server", *words]
    code: int = command.main()
    return code


if __name__ == "__main__":
    sys.exit(main())
