"""A disk that fails at the n-th call: an LD_PRELOAD shim (`fault_shim.c`), built by the test.

    with shim.failing({Call.FSYNC}, below=data_dir, error=errno.EIO, first=3):
        ...                     # the third fsync of a file in there fails
    assert shim.failed == 1

It counts over all threads, and over all processes that were started with `environment`. It is armed
and disarmed while they run, by a file that all of them have mapped.
"""

import contextlib
import enum
import mmap
import os
import pathlib
import struct
import subprocess
from collections.abc import Iterator

from support import component

_SOURCE = pathlib.Path(__file__).with_name("fault_shim.c")
_FORM = struct.Struct("=IIiIqqqq2048s")
"""`struct control` of the source."""
_ARMED = struct.Struct("=I")
_COUNTS = struct.Struct("=qq")
_COUNTS_OFFSET = 32
_PREFIX_BYTES = 2048


class Call(enum.IntFlag):
    """The calls that can fail; the numbers are those of the source."""

    WRITE = 1
    PWRITE = 2
    FSYNC = 4
    FDATASYNC = 8
    RENAME = 16
    LINK = 32
    STAT = 64
    OPEN = 128


ALL = Call.WRITE | Call.PWRITE | Call.FSYNC | Call.FDATASYNC | Call.RENAME | Call.LINK
"""All that write."""
ASKING = Call.STAT | Call.OPEN
"""What tells whether something is there."""


class Shim:
    """A shim and the file that tells it what to do; close it with `built`."""

    def __init__(self, library: pathlib.Path, control: pathlib.Path) -> None:
        control.write_bytes(bytes(_FORM.size))
        self.environment = {"LD_PRELOAD": str(library), "DSHPC_FAULT_CONTROL": str(control)}
        """What a program needs to be started under it."""
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _FORM.size)

    @property
    def counted(self) -> int:
        """How many calls there were since it was armed."""
        return self._counts()[0]

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return self._counts()[1]

    @contextlib.contextmanager
    def failing(
        self,
        calls: Call,
        *,
        below: pathlib.Path,
        error: int | None,
        first: int = 1,
        times: int = 1,
    ) -> Iterator[None]:
        """Have calls on files below a path fail, from the `first`-th on so many, or (0) all.

        With an error of None the process is killed instead. The counts stay to be looked at.
        """
        self.arm(calls, below=below, error=error, first=first, times=times)
        try:
            yield
        finally:
            self.disarm()

    def arm(
        self,
        calls: Call,
        *,
        below: pathlib.Path,
        error: int | None,
        first: int = 1,
        times: int = 1,
    ) -> None:
        """Begin to count, and to fail; see `failing`."""
        prefix = os.fsencode(below)
        assert len(prefix) < _PREFIX_BYTES
        self.disarm()
        _FORM.pack_into(self._control, 0, 0, calls, error or 0, 0, first, times, 0, 0, prefix)
        _ARMED.pack_into(self._control, 0, 1)

    def disarm(self) -> None:
        """Fail no more."""
        _ARMED.pack_into(self._control, 0, 0)

    def close(self) -> None:
        """Give the file back; programs that run keep theirs."""
        self._control.close()

    def _counts(self) -> tuple[int, int]:
        counted, failed = _COUNTS.unpack_from(self._control, _COUNTS_OFFSET)
        return counted, failed


@contextlib.contextmanager
def built(folder: pathlib.Path) -> Iterator[Shim]:
    """Build the shim in a folder of the test's own; skipped by name without a compiler."""
    library = folder / "fault_shim.so"
    command = [component.path("cc"), "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    command += ["-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    shim = Shim(library, folder / "fault_control")
    try:
        yield shim
    finally:
        shim.disarm()
        shim.close()
