"""Who is over its time or its memory, and when to look next."""

import heapq
import itertools
import time
from collections.abc import Iterator

from dshpc_server.engine.local.attempt import Attempt
from dshpc_server.engine.local.memory import Memory

_SAMPLE_SECONDS = 0.1
_SAMPLE_SHARE = 20
"""Looking at memory takes at most a twentieth of the runner's time."""


class Overruns:
    """Watches attempts from their start to their end."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._deadlines: list[tuple[float, int, Attempt]] = []
        self._count = itertools.count()
        self._limited: set[Attempt] = set()
        self._sample_at = 0.0

    def watch(self, attempt: Attempt) -> None:
        """Begin to watch."""
        heapq.heappush(self._deadlines, (attempt.deadline, next(self._count), attempt))
        if attempt.memory_bytes:
            self._limited.add(attempt)

    def forget(self, attempt: Attempt) -> None:
        """End to watch."""
        attempt.is_over = True
        self._limited.discard(attempt)
        # Short jobs with long limits must not pile up until their deadlines.
        if len(self._deadlines) > 1000 and self._deadlines[len(self._deadlines) // 2][2].is_over:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].is_over]
            heapq.heapify(self._deadlines)

    def due_at(self) -> float | None:
        """When to call `found`; None when nothing is watched."""
        moments = [self._deadlines[0][0]] if self._deadlines else []
        if self._limited:
            moments.append(self._sample_at)
        return min(moments, default=None)

    def found(self, now: float) -> Iterator[tuple[Attempt, str]]:
        """Each attempt that is over a limit now, with the cause."""
        while self._deadlines and (self._deadlines[0][2].is_over or self._deadlines[0][0] <= now):
            attempt = heapq.heappop(self._deadlines)[2]
            if not attempt.is_over:
                yield attempt, "OVER_TIME"
        if not self._limited or now < self._sample_at:
            return
        for attempt in list(self._limited):
            if self._memory.is_exceeded(attempt):
                yield attempt, "OVER_MEMORY"
        took_seconds = time.monotonic() - now
        self._sample_at = now + max(_SAMPLE_SECONDS, _SAMPLE_SHARE * took_seconds)
