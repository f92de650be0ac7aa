"""What was taken over, as the log tells it: from whom, how much, and what had become of it.

Promise: one line for each take-over, once the engine has accounted for everything of it that was
handed over before: it runs on, has ended meanwhile, or is lost. What comes of it later is told like
that of any other attempt.
"""

import collections
import dataclasses
from collections.abc import Collection, Sequence

import structlog

from dshpc_server import clock
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port as engine
from dshpc_server.store import records

_log = structlog.get_logger(__name__)

_RUNNING = "running"
_ENDED = "ended"
_LOST = "lost"
_FOUND = {
    engine.Started: _RUNNING,
    engine.Suspended: _RUNNING,
    engine.Resumed: _RUNNING,
    engine.Exited: _ENDED,
    engine.NotStarted: _ENDED,
    engine.Lost: _LOST,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _TakeOver:
    """One of them, on the way."""

    servers: Sequence[str]
    attempts: int
    to_start: int
    """Those that nobody had handed over: they are started as others are."""
    began_at: float
    waiting: set[AttemptKey]
    """Those that the engine has not told of yet."""
    found: collections.Counter[str]


class TakenOver:
    """The take-overs that are not accounted for. For the event loop's thread alone."""

    def __init__(self, clock: clock.Clock) -> None:
        self._clock = clock
        self._open: list[_TakeOver] = []

    def begin(
        self, found: Sequence[records.ActiveAttempt], handed_over: Collection[AttemptKey]
    ) -> None:
        """Take note of attempts that are ours now; the engine is asked about these."""
        begun = _TakeOver(
            servers=sorted({each.taken_from for each in found if each.taken_from}),
            attempts=len(found),
            to_start=len(found) - len(handed_over),
            began_at=self._clock.monotonic(),
            waiting=set(handed_over),
            found=collections.Counter(),
        )
        self._open.append(begun)
        self._tell()

    def note(self, facts: Sequence[engine.Fact]) -> None:
        """Take note of what the engine tells; the first that is told of each counts."""
        if not self._open:
            return
        for fact in facts:
            for each in self._open:
                if fact.key in each.waiting:
                    each.waiting.remove(fact.key)
                    each.found[_FOUND[type(fact)]] += 1
        self._tell()

    def forget(self, keys: Collection[AttemptKey]) -> None:
        """Wait for these no more: they are others' now, or nobody's."""
        for each in self._open:
            each.waiting.difference_update(keys)
        self._tell()

    def _tell(self) -> None:
        """Tell of those that wait for nothing more."""
        for each in self._open:
            if not each.waiting:
                _log.info("recovered", **self._counts(each))
        self._open = [each for each in self._open if each.waiting]

    def _counts(self, whole: _TakeOver) -> dict[str, object]:
        return {
            "servers": whole.servers,
            "attempts": whole.attempts,
            **{name: whole.found[name] for name in (_RUNNING, _ENDED, _LOST)},
            "to_start": whole.to_start,
            "seconds": round(self._clock.monotonic() - whole.began_at, 3),
        }
