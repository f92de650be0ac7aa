"""Outages, as the log tells them: what is tried again and again and fails.

Promise: one warning when it begins, at most one a minute while it lasts, and one line when it is
over, however often it is tried and by however many. What begins again right after it was over is
the same trouble: of that, too, there is one warning a minute. No line is lost for good: the next
warning tells how long it has lasted by then, and how many tries were in vain.
"""

import threading
from collections.abc import Hashable

import structlog

from dshpc_server import clock

REMINDER_SECONDS = 60.0
"""Between two warnings of one kind."""
CALM_SECONDS = 5.0
"""What has worked for so long is well again, and its next failure is news."""

_log = structlog.get_logger(__name__)


class Outage:
    """Something that may fail for a while. Any thread may tell of it."""

    def __init__(self, clock: clock.Clock, *, begins: str, ends: str) -> None:
        """`begins` and `ends` are the events in the log."""
        self._clock = clock
        self._begins = begins
        self._ends = ends
        self._lock = threading.Lock()
        self._failing: set[Hashable] = set()
        self._began_at = 0.0
        self._ended_at: float | None = None
        self._attempts = 0
        self._is_told = False
        """Whether the log knows of what lasts now, so that it is to be told of the end."""
        self._told_at: dict[str, float] = {}
        """When each kind was told last."""

    def failed(self, reason: str, *, by: Hashable = None, kind: str = "", **facts: object) -> None:
        """Take note of one more try in vain.

        `by` is who has tried: it is over when it works for everybody for whom it failed. Another
        `kind` of failure is told at once, whatever was told before.
        """
        with self._lock:
            now = self._clock.monotonic()
            if not self._failing:
                self._begin(now)
            self._failing.add(by)
            self._attempts += 1
            told_at = self._told_at.get(kind)
            if told_at is not None and now - told_at < REMINDER_SECONDS:
                return
            self._told_at[kind] = now
            self._is_told = True
            if self._attempts > 1:
                facts |= self._so_far(now)
            _log.warning(self._begins, reason=reason, **facts)

    def works(self, *, by: Hashable = None, **facts: object) -> bool:
        """Take note that it works for this one; whether that ends an outage."""
        if not self._failing:  # as nearly always
            return False
        with self._lock:
            if by not in self._failing:
                return False
            self._failing.remove(by)
            if self._failing:
                return False
            self._ended_at = now = self._clock.monotonic()
            if self._is_told:
                _log.info(self._ends, **facts, **self._so_far(now))
            return True

    def _begin(self, now: float) -> None:
        if self._ended_at is None or now - self._ended_at >= CALM_SECONDS:
            self._told_at.clear()
        self._began_at = now
        self._attempts = 0
        self._is_told = False

    def _so_far(self, now: float) -> dict[str, object]:
        return {"seconds": round(now - self._began_at, 1), "attempts": self._attempts}
