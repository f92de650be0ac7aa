"""The demonstration behind `make demo`: a server, a batch of every example method, twice.

Promise: whether it succeeds, fails or is interrupted, no process and no file of it stays. The exit
code is 0 only if both runs of the batch completed and the server stopped in good order.
"""

import contextlib
import ctypes
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NoReturn

import psutil

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = pathlib.Path(sys.executable).parent
BATCH = "examples/demo.yaml"
START_SECONDS = 30.0
STOP_SECONDS = 30.0
LISTENING = b"listening on "
LOG_TAIL_BYTES = 4096
_PR_SET_CHILD_SUBREAPER = 36


class DemoError(Exception):
    """The demonstration did not go as it should; the message says how."""


def main() -> int:
    """Run the demonstration; returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    _adopt_orphans()
    try:
        with _data_folder() as folder, _server(folder) as address:
            first_seconds = _run_batch(address, "Running every example method over every data set.")
            again_seconds = _run_batch(address, "Asking for the same again: nothing runs.")
    except DemoError as error:
        _say(f"demo: {error}")
        return 1
    except KeyboardInterrupt:
        _say("demo: interrupted")
        return 130
    _say(f"First run {first_seconds:.1f} s, asked again {again_seconds:.1f} s (client included).")
    return 0


@contextlib.contextmanager
def _data_folder() -> Iterator[pathlib.Path]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dshpc-demo-"))
    try:
        yield folder
    finally:
        # Loaded methods are kept in read-only folders.
        for path, _, _ in os.walk(folder):
            pathlib.Path(path).chmod(0o700)
        shutil.rmtree(folder)


@contextlib.contextmanager
def _server(folder: pathlib.Path) -> Iterator[str]:
    """Yield the address of a server that serves; stop it afterwards, and what it left running."""
    log = folder / "server.log"
    command = [str(PROGRAMS / "dshpc-server"), "serve", "--listen", "127.0.0.1:0"]
    command += ["--data-dir", str(folder / "data"), "--methods-dir", "examples/methods"]
    # A session of its own: Ctrl-C reaches the client and this program, which then stops it.
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        ) as server,
    ):
        try:
            yield _address(server)
            _stop(server)
        except DemoError:
            _say(log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace"))
            raise
        finally:
            _end(server)


def _address(server: subprocess.Popen[bytes]) -> str:
    """Wait for the line that tells the address."""
    assert server.stdout is not None
    output, ended = server.stdout.fileno(), os.pidfd_open(server.pid)
    told, deadline = b"", time.monotonic() + START_SECONDS
    try:
        while True:
            for line in told.splitlines(keepends=True):
                if line.startswith(LISTENING) and line.endswith(b"\n"):
                    return line.removeprefix(LISTENING).decode().strip()
            seconds = max(deadline - time.monotonic(), 0.0)
            ready, _, _ = select.select([output, ended], [], [], seconds)
            if not ready:
                raise DemoError(f"the server did not serve within {START_SECONDS:.0f} s")
            data = os.read(output, 4096) if output in ready else b""
            if not data:
                raise DemoError(f"the server ended with exit code {server.wait()}")
            told += data
    finally:
        os.close(ended)


def _run_batch(address: str, title: str) -> float:
    """Have the client run the batch on this terminal; returns how long that took."""
    _say(f"\n{title}")
    started = time.monotonic()
    command = [str(PROGRAMS / "dshpc"), "--server", address, "run", BATCH]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        raise DemoError(f"'dshpc run {BATCH}' ended with exit code {code}")
    return time.monotonic() - started


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        code = server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise DemoError(f"the server did not stop within {STOP_SECONDS:.0f} s") from None
    if code:
        raise DemoError(f"the server stopped with exit code {code}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """Leave nothing running, politely if there is time; a second Ctrl-C ends the politeness."""
    try:
        if server.poll() is None:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(STOP_SECONDS)
    finally:
        server.kill()
        server.wait()
        _end_orphans()


def _adopt_orphans() -> None:
    """Become the parent of what outlives the server (its runner, running methods)."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans() -> None:
    """Kill what outlived the server; a killed parent leaves its children to us, hence the loop."""
    while orphans := psutil.Process().children(recursive=True):
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        psutil.wait_procs(orphans)


def _interrupt(signal_number: int, frame: object) -> NoReturn:
    del signal_number, frame
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
