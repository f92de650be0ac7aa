"""Several server processes over one database and one data folder.

Promise: when the context ends, all of them and everything they started are gone.
"""

import contextlib
import os
import pathlib
import signal
from collections.abc import Iterator

import grpc

from support import calls, live_server

FAST = {
    "lease_seconds": 1,
    "slots": 1,
    "stop_grace_seconds": 0.2,
    "retry_first_seconds": 0.1,
    "retry_last_seconds": 0.2,
}
"""The shortest lease there is; the rest keeps tests short."""


class Server(live_server.ServerProcess):
    """One of them, with a client of its own and a log of its own."""

    def __init__(
        self, name: str, folder: pathlib.Path, methods_dir: pathlib.Path, **flags: object
    ) -> None:
        self.name = name
        super().__init__(folder, methods_dir, **flags)
        self._channel = grpc.insecure_channel(self.address)
        self.service = calls.Service(self._channel)

    def pause(self) -> None:
        """Let it stand still."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it, and the client's connection; its exit code."""
        self._channel.close()
        if self.process.poll() is None:
            self.resume()
        return self.stop(number)


class Cluster:
    """Servers that share everything."""

    def __init__(self, folder: pathlib.Path, methods_dir: pathlib.Path, url: str) -> None:
        self._folder = folder
        self._methods_dir = methods_dir
        self._url = url
        self.data_dir = folder / "data"
        self.servers: list[Server] = []

    def start(self, **flags: object) -> Server:
        """Start one more."""
        given = FAST | flags | {"store": self._url}
        server = Server(f"server-{len(self.servers)}", self._folder, self._methods_dir, **given)
        self.servers.append(server)
        return server

    def end(self) -> None:
        """End all of them."""
        for server in self.servers:
            server.end()

    def log(self) -> str:
        """What all of them wrote."""
        return (self._folder / "server.log").read_text()


@contextlib.contextmanager
def cluster(folder: pathlib.Path, methods_dir: pathlib.Path, url: str) -> Iterator[Cluster]:
    """Start servers as the test asks; jobs that still run at the end are a failure of it."""
    made = Cluster(folder, methods_dir, url)
    try:
        yield made
    finally:
        made.end()
        try:
            live_server.wait_until_gone(made.data_dir)
        finally:
            for pid in live_server.processes_of(made.data_dir):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
