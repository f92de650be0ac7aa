"""The `dshpc` command against a server, inside the test or as a process of its own."""

import contextlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dshpc.cli import main

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
