"""The failing disk of the fault tests: the call that is told to fail fails, and no other."""

import errno
import pathlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support import fault_shim
from support.fault_shim import Call

# Each line that comes names a call; what it met is said.
PROGRAM = """
import os, sys, threading
folder = sys.argv[1]
file = os.open(folder + "/file", os.O_RDWR | os.O_CREAT)
calls = {
    "write": lambda: os.write(file, b"x"),
    "pwrite": lambda: os.pwrite(file, b"x", 0),
    "fsync": lambda: os.fsync(file),
    "fdatasync": lambda: os.fdatasync(file),
    "rename": lambda: os.rename(folder + "/file", folder + "/file"),
    "link": lambda: (os.link(folder + "/file", folder + "/2"), os.unlink(folder + "/2")),
    "stat": lambda: os.stat(folder + "/file"),
    "open": lambda: os.close(os.open(folder + "/file", os.O_RDONLY)),
    "lstat": lambda: os.lstat(folder + "/file"),
    "list": lambda: os.listdir(folder),
}
def call(name):
    try:
        calls[name]()
    except OSError as error:
        print(error.errno, flush=True)
    else:
        print("done", flush=True)
for line in sys.stdin:
    thread = threading.Thread(target=call, args=(line.strip(),))
    thread.start()
    thread.join()
"""


class Program:
    """A program under the shim that makes calls, each on a thread of its own."""

    def __init__(self, shim: fault_shim.Shim, folder: pathlib.Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            env=shim.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, name: str) -> str:
        """What a call met; empty when the process died in it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fault_shim.Shim]:
    with fault_shim.built(tmp_path_factory.mktemp("shim")) as shim:
        yield shim


@pytest.fixture
def program(shim: fault_shim.Shim, tmp_path: pathlib.Path) -> Iterator[Program]:
    program = Program(shim, tmp_path)
    with program.process:
        yield program
        program.process.kill()


@pytest.mark.parametrize("name", [call.name.lower() for call in Call if call.name])
def test_a_call_of_every_kind_can_fail(
    shim: fault_shim.Shim, program: Program, tmp_path: pathlib.Path, name: str
) -> None:
    assert program.call(name) == "done"
    with shim.failing(Call[name.upper()], below=tmp_path, error=errno.EIO):
        assert program.call(name) == str(errno.EIO)
    assert program.call(name) == "done"
    assert (shim.counted, shim.failed) == (1, 1)


@pytest.mark.parametrize("name", ["stat", "lstat", "open", "list"])
def test_a_disk_can_fall_silent_below_a_folder(
    shim: fault_shim.Shim, program: Program, tmp_path: pathlib.Path, name: str
) -> None:
    assert program.call(name) == "done"
    with shim.failing(fault_shim.ASKING, below=tmp_path, error=errno.EIO, times=0):
        assert [program.call(name) for _ in range(3)] == [str(errno.EIO)] * 3
        assert program.call("write") == "done"
    assert program.call(name) == "done"
    assert shim.failed == 3


def test_the_nth_call_fails_and_those_after_it_as_often_as_asked(
    shim: fault_shim.Shim, program: Program, tmp_path: pathlib.Path
) -> None:
    no_room = str(errno.ENOSPC)
    with shim.failing(Call.WRITE, below=tmp_path, error=errno.ENOSPC, first=2, times=2):
        met = [program.call("write") for _ in range(4)]
    assert met == ["done", no_room, no_room, "done"]
    with shim.failing(Call.WRITE, below=tmp_path, error=errno.ENOSPC, first=3, times=0):
        met = [program.call("write") for _ in range(4)]
    assert met == ["done", "done", no_room, no_room]


def test_calls_of_other_kinds_and_on_other_files_do_not_count(
    shim: fault_shim.Shim, program: Program, tmp_path: pathlib.Path
) -> None:
    with shim.failing(fault_shim.ALL, below=tmp_path / "elsewhere", error=errno.EIO):
        assert program.call("write") == "done"
    assert shim.counted == 0
    with shim.failing(Call.FSYNC, below=tmp_path, error=errno.EIO):
        assert program.call("write") == "done"
        assert shim.counted == 0


def test_a_process_can_be_killed_at_a_call(
    shim: fault_shim.Shim, program: Program, tmp_path: pathlib.Path
) -> None:
    with shim.failing(Call.RENAME, below=tmp_path, error=None, first=2):
        assert program.call("rename") == "done"
        assert program.call("rename") == ""
    assert program.process.wait(30) == -signal.SIGKILL


def test_sqlite_meets_it_too(shim: fault_shim.Shim, tmp_path: pathlib.Path) -> None:
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('create table t (x)')\n"
    )
    with shim.failing(fault_shim.ALL, below=tmp_path, error=errno.EIO):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "database")],
            env=shim.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert sqlite3.OperationalError.__name__ in done.stderr
    assert shim.failed == 1
