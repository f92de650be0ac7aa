"""A wall clock that jumps while programs run, as an administrator or a broken NTP moves it.

    with live_server.as_process(..., clock.environment) as server:
        clock.move(days=1)

By libfaketime. The monotonic clock goes on as it is: a jump of that is no fault machines have.
"""

import datetime
import pathlib

from support import component

_LIBRARY = "libfaketimeMT.so.1"
_FOLDERS = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime")


class MovedClock:
    """The clock of programs that are started with `environment`; right until it is moved."""

    def __init__(self, file: pathlib.Path) -> None:
        """Skipped by name without libfaketime. The file is the clock's own."""
        component.path("faketime")
        self._file = file
        self.move()
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        """What a program needs to be started under it."""

    def move(self, *, days: int = 0) -> None:
        """Say from now on that it is so many days later than it is."""
        seconds = round(datetime.timedelta(days=days).total_seconds())
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)


def _library() -> pathlib.Path:
    root = pathlib.Path("/")
    found = [file for folder in _FOLDERS for file in root.glob(f"{folder[1:]}/{_LIBRARY}")]
    component.require("faketime", present=bool(found))
    return found[0]
