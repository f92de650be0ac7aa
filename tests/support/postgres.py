"""A real PostgreSQL for tests: made in a temporary folder, started, stopped, killed at will.

Promise: it listens on the loopback interface only, and when its context ends, its processes and
its folder are gone. As root it runs as another user, since it refuses to run as root.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from support import component, postgres_programs

USER = "dshpc"
PASSWORD = "open sesame"  # of servers that live as long as the tests
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.01
_STARTS = 5
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
    # A test of deadlocks is not to wait long for each.
    "deadlock_timeout": "200ms",
    "timezone": "UTC",
}
# Nothing of these servers is to outlive a power cut.
_CARELESS = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """One PostgreSQL server with a folder of its own; `running` makes one."""

    def __init__(
        self, folder: pathlib.Path, account: postgres_programs.Account, settings: dict[str, str]
    ) -> None:
        self._folder = folder
        self._account = account
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._left_memory = False
        self.port = 0

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped or killed since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process that all others of it descend from."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """Where a store in this database is."""
        password = PASSWORD.replace(" ", "%20")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """The same by its Unix socket, where it asks for no password."""
        return f"postgresql://{USER}@/{database}?host={self._folder}&port={self.port}"

    def create(self, *, template: str = "template1") -> str:
        """Make a database, a copy of the template; return its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as its administrator; return the rows of the last one, if it has any."""
        with psycopg.connect(self.socket_url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def sessions(self, database: str) -> list[int]:
        """The processes that serve connections to this database."""
        question = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
        return [row[0] for row in self.execute(f"{question} AND datname = '{database}'")]

    def terminate(self, database: str) -> int:
        """End every connection to this database; return how many that were."""
        others = f"datname = '{database}' AND pid <> pg_backend_pid()"
        cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
        return sum(was_there for (was_there,) in self.execute(cut))

    def start(self) -> None:
        """Start it, on the port it had before if any; returns when it takes connections."""
        assert self._process is None, "it is running"
        had = self.port
        for _ in range(_STARTS):
            # A port that nobody knows yet is tried once: somebody else may be quicker.
            self.port = had or _free_port()
            if self._started():
                self._left_memory = False
                return
        raise AssertionError(f"PostgreSQL does not start:\n{self.log()}")

    def stop(self) -> None:
        """Stop it: connections are cut, what they had not committed is undone."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it, all its processes at once."""
        self._end(signal.SIGKILL)
        self._left_memory = True

    def discard(self) -> None:
        """End it, and let nothing of it stay in the system's memory; what it holds is lost."""
        if self._left_memory:
            self.start()  # which takes that up
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def log(self) -> str:
        """What it wrote about itself."""
        return (self._folder / "log").read_text(errors="replace")

    def _started(self) -> bool:
        """Start it; answer whether it took its port."""
        settings = {
            **self._settings,
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
        }
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._account.command(
                    postgres_programs.path("postgres"), "-D", self._folder / "data", *words
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        if not until(lambda: self._is_ready() or self._has_ended()):
            self.kill()
        if self._has_ended():
            self._process = None
        return self._process is not None

    def _is_ready(self) -> bool:
        """Whether it says so itself, in the last line of the file with its pid."""
        try:
            lines = (self._folder / "data" / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        return lines[0] == str(self.pid) and len(lines) > 7 and lines[7].strip() == "ready"

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        descendants = _children(self._process.pid)
        self._process.send_signal(how)
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Those of a killed one notice it soon, but hold its memory until they have.
        for pid in descendants:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert until(lambda: not any(_is_alive(pid) for pid in descendants))
        self._process = None


@contextlib.contextmanager
def running(*, is_durable: bool = False) -> Iterator[Postgres]:
    """Run a server with nothing in it; skips the test where there is no PostgreSQL.

    `is_durable`: what it has committed outlives everything, as in production.
    """
    component.require("postgres", present=postgres_programs.find("initdb") is not None)
    account = postgres_programs.account()
    # Not in pytest's folder, which nobody else may enter, and whose name is too long for a socket.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dshpc-postgres-", dir="/tmp"))
    try:
        if account.uid is not None:
            os.chown(folder, account.uid, account.gid or -1)
        postgres_programs.initialise(folder, account, user=USER, password=PASSWORD)
        server = Postgres(folder, account, _SETTINGS | ({} if is_durable else _CARELESS))
        try:
            server.start()
            yield server
        finally:
            server.discard()
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in listed.read_text().split()] if listed.exists() else []


def _is_alive(pid: int) -> bool:
    """Whether it runs; who is dead and not yet waited for by its new parent does not."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def until(holds: Callable[[], bool], seconds: float = _PATIENCE_SECONDS) -> bool:
    """Wait for a fact; answer whether it came about in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
