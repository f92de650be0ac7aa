"""A server that is killed and begun again at the same address, as often as a test likes.

Nobody waits until it serves: it may be killed before it does.
"""

import os
import pathlib
import signal
import socket
import subprocess

from support import fault_scenario, live_server, loaded

STOP_SECONDS = 30.0
_LOG_BYTES = 4000


class Server:
    """One server, begun again at the same address whenever it was killed."""

    def __init__(
        self, folder: pathlib.Path, methods_dir: pathlib.Path, *, slots: int, store: str
    ) -> None:
        self.address = _free_address()
        self.log = folder / f"server-{self.address.rpartition(':')[2]}.log"
        self.problems: list[str] = []
        self._words = [
            *("serve", f"--data-dir={folder / 'data'}", f"--methods-dir={methods_dir}"),
            *(f"--listen={self.address}", f"--slots={slots}"),
            f"--inline-output-bytes={fault_scenario.INLINE_OUTPUT_BYTES}",
            *("--lease-seconds=2", "--retry-first-seconds=0.2", "--min-free-bytes=0"),
            "--log-level=warning",
        ]
        self._environment = environment(store)
        # One that shares its store takes the second that a server takes to start: what its
        # predecessor had begun and it does not have yet is to come to its end, not to add up.
        self._is_forked = not store
        self._process = self._started()

    def kill(self) -> None:
        """Kill it. It has to be alive: one that ends by itself is told of."""
        if self._process.poll() is not None:
            told = self.log.read_text(errors="replace")[-_LOG_BYTES:]
            code = self._process.returncode
            self.problems.append(f"WRONG: a server ended by itself with code {code}:\n{told}")
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def start(self) -> None:
        """Begin again."""
        self._process = self._started()

    def stop(self) -> None:
        """Stop it as an administrator does."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(STOP_SECONDS)
        if code != 0:
            self.problems.append(f"WRONG: a server that was stopped left with code {code}")

    def _started(self) -> loaded.Process | subprocess.Popen[bytes]:
        with self.log.open("ab") as log, pathlib.Path(os.devnull).open("ab") as nowhere:
            return live_server.started(
                self._words,
                self._environment,
                nowhere.fileno(),
                log.fileno(),
                is_forked=self._is_forked,
            )


def environment(store: str) -> dict[str, str]:
    """What the store is named by, which may hold a password."""
    return {**os.environ, "DSHPC_STORE": store}


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"
