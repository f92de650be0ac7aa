"""Time as a collaborator: whoever needs it is handed a `Clock`, so that tests hold the hands."""

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime.datetime:
        """The wall clock, aware, in UTC. For records; never for measuring a duration."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never going back. For durations and deadlines."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime.datetime:
        """The wall clock, in UTC."""
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()
