"""The queue's order: which class is served next, and in which turn each of its attempts is.

A *class* is what waits with one priority. Promises: of two classes the higher one goes first, but
whatever waits is served at last; within a class batches take turns, attempt by attempt, so that a
batch of one waits for one attempt of whoever was there before it, and not for all; nobody is
overtaken for ever by those who come later. Every moment is handed in.
"""

import collections
import dataclasses
import enum
import math
from collections.abc import Callable, Mapping

MOST_STEPPED_OVER = 500
"""So many of a class, at the least, are stepped over before those behind them wait as well."""
_STRIDE = 2
"""Between two turns of a batch there is one for whoever comes while the first of them waits."""


class Verdict(enum.Enum):
    """What becomes of the attempt that is next in the queue."""

    TAKE = enum.auto()
    STEP_OVER = enum.auto()
    """It waits for something that those behind it do not wait for."""
    STOP = enum.auto()
    """It waits, and nobody may overtake it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an attempt waits."""

    priority: int
    turn: int
    """The lower one goes first; of equal ones that which was queued earlier."""


class Turns:
    """Gives the attempts of one batch their turns, class by class.

    The first one comes right after whoever is next in its class as the batch comes, so never
    before anybody who is next: however many batches come, those who wait go on.
    """

    def __init__(
        self,
        head: Callable[[int], int | None],
        *,
        at: int,
        firsts: Mapping[int, int] | None = None,
    ) -> None:
        """`head` tells the lowest turn in a class; None when nobody waits there.

        `at` is the present, in microseconds: where nobody waits turns begin with it. So they rise
        from one time that a class is empty to the next, and who is tried again, in the turn that
        it had, is not behind those who came long after it. `firsts` are those of a batch that has
        begun: it goes on with them.
        """
        self._head = head
        self._at = at
        self._given: collections.Counter[int] = collections.Counter()
        self.firsts = dict(firsts or {})
        """The first turn of the batch in each class that it has come to."""

    def next(self, priority: int, position: int | None = None) -> int:
        """The next turn in this class; or that of a position, for those who come in any order."""
        if priority not in self.firsts:
            head = self._head(priority)
            self.firsts[priority] = self._at if head is None else head + 1
        if position is None:
            position = self._given[priority]
            self._given[priority] += 1
        return self.firsts[priority] + _STRIDE * position

    def place(self, priority: int, position: int | None = None) -> Place:
        """The next place in this class; or that of a position."""
        return Place(priority=priority, turn=self.next(priority, position))

    def joined(self, place: Place, priority: int, position: int | None = None) -> Place:
        """The place of what waits here already, now that this batch waits for it with a priority.

        The higher of the two priorities counts; of two equal ones the earlier turn.
        """
        if priority < place.priority:
            return place
        own = self.place(priority, position)
        return own if priority > place.priority or own.turn < place.turn else place


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ageing:
    """Which class is served next, as far as one server remembers whom it served.

    A class counts as of one priority more for each `seconds` that it starves: since its head was
    queued, or since it was served last. Whenever it is served that begins anew, so that a class
    that has come first by its age alone gets one attempt, and then stands back again.
    """

    seconds: float = 60.0
    served_at: Mapping[int, float] = dataclasses.field(default_factory=dict)
    """When each class was served last, in seconds; by priority."""

    def next(self, heads: Mapping[int, float], now: float) -> int:
        """The class to be served, of these: when the head of each was queued, by priority."""
        return max(heads, key=lambda priority: (self._effective(priority, heads, now), priority))

    def serving(self, priority: int, now: float) -> "Ageing":
        """What is remembered once an attempt of this class was taken."""
        return dataclasses.replace(self, served_at={**self.served_at, priority: now})

    def _effective(self, priority: int, heads: Mapping[int, float], now: float) -> int:
        since, served_at = heads[priority], self.served_at.get(priority)
        # What is later than now was told by a clock that has since been set back.
        if served_at is not None and served_at <= now:
            since = max(since, served_at)
        return priority + math.floor(max(0.0, now - since) / self.seconds)
