"""What lies outside the store when several servers use it: engines with their processes, a disk,
a clock.

An engine is shared by the servers of a scope and outlives them. It starts an attempt at most once,
whoever asks and however often, and remembers how it ended. What is to be stopped is stopped, or
never started.
"""

import dataclasses
import datetime

from dshpc_server.domain.job import AttemptKey
from dshpc_server.domain.lifecycle import Event


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """How a process ended."""

    event: Event
    exit_code: int = 0
    output: str = ""
    is_inline: bool = True


LOST = Exit(event=Event.LOST)
REFUSED = Exit(event=Event.NOT_STARTED)
STOPPED = Exit(event=Event.CANCELLED)


class Engine:
    """The processes of one scope."""

    def __init__(self) -> None:
        self.living: list[AttemptKey] = []
        self.exits: dict[AttemptKey, Exit] = {}

    def start(self, key: AttemptKey) -> None:
        """Start it, unless it was started before."""
        if key not in self.living and key not in self.exits:
            self.living.append(key)

    def stop(self, key: AttemptKey) -> None:
        """Stop it, or see to it that it never starts."""
        self.end(key, STOPPED)

    def refuse(self, key: AttemptKey) -> None:
        """See to it that it never starts, unless it has."""
        if key not in self.living:
            self.end(key, REFUSED)

    def end(self, key: AttemptKey, how: Exit) -> None:
        """Let it have ended; the first end counts."""
        if key in self.living:
            self.living.remove(key)
        self.exits.setdefault(key, how)

    def die(self) -> None:
        """Lose every process; the next runner finds that they are gone."""
        for key in list(self.living):
            self.end(key, LOST)


class MovableClock:
    """A wall clock that goes as a test says, back as well."""

    def __init__(self, start: datetime.datetime) -> None:
        self._now = start

    def now(self) -> datetime.datetime:
        return self._now

    def monotonic(self) -> float:
        raise AssertionError("nothing in a store measures a duration")

    def move(self, seconds: float) -> None:
        self._now += datetime.timedelta(seconds=seconds)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What the servers share besides the store."""

    engines: dict[str, Engine]
    """By scope."""
    disk: set[str]
    """The content that is stored, by hash."""

    def living(self) -> list[AttemptKey]:
        """Every process of an attempt, wherever it runs."""
        return [key for engine in self.engines.values() for key in engine.living]

    def end(self, key: AttemptKey, how: Exit) -> None:
        """Let this process have ended, wherever it runs."""
        for engine in self.engines.values():
            if key in engine.living:
                engine.end(key, how)
