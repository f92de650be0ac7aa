"""The `dshpc` command against a server, inside the test or as a process of its own."""

import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dshpc.cli import main

DEADLINE_SECONDS = 30

# Ctrl-C counts as on a terminal, also when the tests run in the background, where a shell has it
# ignored for all that is started there.
_ENTRY = """
import signal, sys
from dshpc.cli import main
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main.main())
"""


class Command:
    """Runs `dshpc` against the fake server."""

    def __init__(self, target: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._target = target
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: str | pathlib.Path) -> int:
        """Run inside this process; `out` and `err` are what it wrote."""
        self._capsys.readouterr()
        code = main.main(["--server", self._target, *map(str, arguments)])
        self.out, self.err = self._capsys.readouterr()
        return code

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of the last run."""
        return [json.loads(line) for line in self.out.splitlines()]

    def words(self, *arguments: str | pathlib.Path) -> list[str]:
        """The command line of a process of its own."""
        return [sys.executable, "-c", _ENTRY, "--server", self._target, *map(str, arguments)]

    @contextlib.contextmanager
    def process(
        self, *arguments: str | pathlib.Path, stdout: int, stderr: int
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """Start as a process of its own, which a test that fails does not leave behind."""
        with subprocess.Popen(
            self.words(*arguments), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        ) as process:
            try:
                yield process
            finally:
                process.kill()


class Reader:
    """Reads what a process writes, until something is seen or it ends."""

    def __init__(self, file_descriptor: int) -> None:
        self._file_descriptor = file_descriptor
        self.text = ""

    def until(self, is_seen: Callable[[str], bool]) -> str:
        """Read until this holds of what was written so far, and return that."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_seen(self.text):
            if not select.select([self._file_descriptor], [], [], deadline - time.monotonic())[0]:
                raise AssertionError(f"not seen in time: {self.text!r}")
            try:
                piece = os.read(self._file_descriptor, 65536)
            except OSError:  # the other end of a terminal was closed
                piece = b""
            if not piece:
                return self.text
            self.text += piece.decode(errors="replace")
        return self.text

    def to_the_end(self) -> str:
        """Read until the process has closed its end."""
        return self.until(lambda _: False)
