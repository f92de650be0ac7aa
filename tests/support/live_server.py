"""The real server for tests: in a thread of the test's process, or as a process of its own.

Promise: when the context ends, the server and everything it started are gone.
"""

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from dshpc_server import app, config
from support import loaded, store_look

START_SECONDS = 30.0
STOP_SECONDS = 30.0


def settings(folder: pathlib.Path, methods_dir: pathlib.Path, **changed: object) -> config.Settings:
    """Return settings for a server whose data is in this folder."""
    flags: dict[str, object] = {
        "listen": "127.0.0.1:0",
        "data_dir": folder / "data",
        "methods_dir": methods_dir,
        "slots": 2,
        "stop_grace_seconds": 1.0,
        "retry_first_seconds": 0.05,
        "log_level": "error",
    }
    return config.load(None, flags | changed)


def put_empty_store(data_dir: pathlib.Path) -> None:
    """Leave a new folder as a server that ended when it had made its tables would have.

    They are half of what it takes to start.
    """
    if not data_dir.exists():
        data_dir.mkdir(mode=0o700)
        (data_dir / "dshpc.sqlite").write_bytes(store_look.empty_store())


@contextlib.contextmanager
def in_thread(of: config.Settings) -> Iterator[str]:
    """Run the asyncio server on a loop of its own in a thread; gives its address."""
    if not of.store:
        put_empty_store(of.data_dir)
    started: list[str] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with app.running(of) as served:
            started.append(served.address)
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="live-server")
    thread.start()
    try:
        assert ready.wait(START_SECONDS), "the server did not start"
        if failed:
            raise failed[0]
        yield started[0]
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it failed to start
            loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_SECONDS)
        wait_until_gone(of.data_dir)
    if failed:
        raise failed[0]


class StartError(AssertionError):
    """A server that ended before it served."""

    def __init__(self, code: int, log: pathlib.Path) -> None:
        super().__init__(f"the server did not start (code {code}): {log.read_text()}")
        self.code = code


class ServerProcess:
    """`dshpc-server serve` as a process of its own."""

    is_forked: ClassVar[bool] = True
    """Whether it may be forked off a process that has loaded the server."""
    module: ClassVar[str] = "dshpc_server"
    """What a Python of its own runs."""

    def __init__(
        self,
        folder: pathlib.Path,
        methods_dir: pathlib.Path,
        environment: Mapping[str, str] | None = None,
        /,
        **flags: object,
    ) -> None:
        """`environment` is what it has beside that of the test."""
        self.data_dir = folder / "data"
        self.log = folder / "server.log"
        given = {"listen": "127.0.0.1:0", "log-level": "info", "slots": 2} | flags
        if self.is_forked and loaded.can_have(environment or {}) and "store" not in given:
            put_empty_store(self.data_dir)
        words = [
            "serve",
            *(f"--data-dir={self.data_dir}", f"--methods-dir={methods_dir}"),
            *(f"--{name.replace('_', '-')}={value}" for name, value in given.items()),
        ]
        with self.log.open("ab") as log:
            told, its = os.pipe()
            self._stdout = os.fdopen(told)
            try:
                self.process = started(
                    words,
                    environment or {},
                    its,
                    log.fileno(),
                    is_forked=self.is_forked,
                    module=self.module,
                )
            finally:
                os.close(its)
        line = self._stdout.readline()
        if not line.startswith("listening on "):
            self._stdout.close()
            raise StartError(self.process.wait(STOP_SECONDS), self.log)
        self.address = line.removeprefix("listening on ").strip()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server with a signal; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self._stdout.close()


class StartedProcess(ServerProcess):
    """One that a Python of its own has started: /proc tells its command line and environment."""

    is_forked = False


def started(
    words: Sequence[str],
    environment: Mapping[str, str],
    stdout: int,
    stderr: int,
    *,
    is_forked: bool,
    module: str = "dshpc_server",
) -> loaded.Process | subprocess.Popen[bytes]:
    """Start a command of the server. What is not forked has loaded all by itself: this module."""
    whole = {**os.environ, **environment}
    if is_forked and loaded.can_have(environment):
        return loaded.Process(words, whole, stdout=stdout, stderr=stderr)
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(command, env=whole, stdout=stdout, stderr=stderr)


@contextlib.contextmanager
def as_process(
    folder: pathlib.Path,
    methods_dir: pathlib.Path,
    environment: Mapping[str, str] | None = None,
    kind: type[ServerProcess] = ServerProcess,
    /,
    **flags: object,
) -> Iterator[ServerProcess]:
    """Run `dshpc-server serve`; jobs that still run at the end are a failure of the test."""
    server = kind(folder, methods_dir, environment, **flags)
    try:
        yield server
    finally:
        server.stop()
        wait_until_gone(server.data_dir)


def wait_until_gone(folder: pathlib.Path) -> None:
    """Wait until no process of this data folder is left."""
    try:
        wait_for(lambda: not processes_of(folder), f"processes of {folder} to end")
    except AssertionError as error:
        left = [_words(pid) for pid in processes_of(folder)]
        raise AssertionError(f"{error}: {left}") from None


def processes_of(folder: pathlib.Path) -> list[int]:
    """Every process whose command line or environment names this folder, but our own."""
    wanted = os.fsencode(folder)
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if wanted in told:
                found.append(int(entry.name))
    return found


def _words(pid: int) -> str:
    """What a process was started as."""
    with contextlib.suppress(OSError):
        words = (pathlib.Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
        return f"{pid}: {b' '.join(words).decode(errors='replace')}"
    return f"{pid}: gone by now"


def wait_for(fact: Any, what: str, *, seconds: float = 30.0) -> Any:  # noqa: ANN401 - whatever the fact is
    """Ask again and again until the answer is truthy, and return it."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (answer := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        pause.wait(0.02)
    return answer
