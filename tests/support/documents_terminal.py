"""A terminal for the tests of documents: one shell that runs a page's blocks one after the other.

Promises: what a block sets, where it goes and what it starts in the background are there for the
next one; a command that fails is told, and ends nothing; when the context ends, nothing that was
started from here is left.
"""

import contextlib
import dataclasses
import os
import pathlib
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping

from support import component, live_server

SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A block, and what came of it."""

    code: str
    printed: str
    """Standard output and error, as on a terminal."""
    failed: tuple[str, ...]
    """`EXIT_CODE COMMAND` of every command that failed."""


class Terminal:
    """A shell that waits for the next block."""

    def __init__(self, process: "subprocess.Popen[bytes]", notes: pathlib.Path) -> None:
        """`notes` is an empty folder."""
        self._process = process
        self._notes = notes
        self._number = 0
        # What fails in a condition does not count. $BASH_COMMAND may have many lines.
        self._tell(f'trap \'printf "%s %s\\0" $? "$BASH_COMMAND" >> {notes}/failed\' ERR')

    def run(self, code: str) -> Ran:
        """Run a block to its end."""
        self._number += 1
        block, printed = (self._notes / f"{self._number}.{kind}" for kind in ("sh", "out"))
        failed = self._notes / "failed"
        block.write_text(code)
        failed.write_text("")
        self._tell(f"source {block} > {printed} 2>&1 < /dev/null; echo ended")
        self._wait(code)
        told = failed.read_text().split("\0")[:-1]
        return Ran(
            code=code,
            printed=printed.read_text(),
            # A block whose last command failed has failed as a whole, which says nothing more.
            failed=tuple(one for one in told if f" source {block} " not in one),
        )

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _wait(self, code: str) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        assert ready, f"the block did not end:\n{code}"
        assert self._process.stdout.readline() == b"ended\n", f"the block ended the shell:\n{code}"


@contextlib.contextmanager
def opened(
    folder: pathlib.Path, own: pathlib.Path, environment: Mapping[str, str]
) -> Iterator[Terminal]:
    """Open a terminal in a folder. At the end every process that names `own` is ended.

    `own` is a folder of the test's; what is started here names it in its environment.
    """
    notes = own / "terminal"
    notes.mkdir()
    with subprocess.Popen(
        [component.path("bash"), "--norc", "--noprofile"],
        cwd=folder,
        env={**environment, "PWD": str(folder), "TEST_TERMINAL": str(notes)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield Terminal(process, notes)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            _end(own)


def _end(own: pathlib.Path) -> None:
    """End what is left: nothing, unless a page was not followed to its end."""
    for number in live_server.processes_of(own):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    live_server.wait_until_gone(own)
