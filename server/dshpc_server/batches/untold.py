"""What a stream has still to tell of a batch's rows, and where it stands.

A table of last values: a row that changes again before it was told stands in it once, with its last
change. So a reader costs no more than its rows, however slow it is, and no end is lost.

Where a stream stands is a `Position`, by which another one goes on: everything that had a stamp up
to `changed_at` was told, and that were `ended_rows` rows that had ended. Whoever goes on counts
them again: when the store has another number by then (two servers committed in another order than
their stamps have, or a store was put back), all rows are told anew.
"""

import dataclasses
import heapq
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where a stream of a batch stands."""

    changed_at: int
    """Everything up to this stamp was told."""
    ended_rows: int
    """How many rows had ended up to it."""


BEGINNING = Position(changed_at=0, ended_rows=0)


class Untold:
    """The rows of a batch that are still to be told, in the order in which they changed.

    They *wait* until somebody takes them, are *in hand* while they are read and sent, and are told
    then. One that changes while it is in hand waits once more.
    """

    def __init__(self, position: Position = BEGINNING) -> None:
        """`position` is where the stream goes on."""
        self._waiting: dict[int, int] = {}
        """The stamp of each row that waits, in order."""
        self._in_hand: dict[int, int] = {}
        self._oldest: list[tuple[int, int]] = []
        """A heap of (stamp, row); those that are in neither table like that count for nothing."""
        self._changed_at = position.changed_at
        self._ended_rows = position.ended_rows
        self._seen_at = position.changed_at
        self._ended_later: list[int] = []
        """A heap of the stamps of ended rows that were told and are behind the position."""

    def __contains__(self, index: int) -> bool:
        return index in self._waiting or index in self._in_hand

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting)

    @property
    def position(self) -> Position:
        """Where the stream stands now."""
        self._settle()
        return Position(changed_at=self._changed_at, ended_rows=self._ended_rows)

    def note(self, index: int, changed_at: int) -> None:
        """Have this row told, as it stands when it is its turn."""
        self.see(changed_at)
        # Taken out first, so that the table stays in the order of the changes.
        self._waiting.pop(index, None)
        self._waiting[index] = changed_at
        heapq.heappush(self._oldest, (changed_at, index))

    def note_all(self, changed: Iterable[tuple[int, int]]) -> None:
        """Have rows told that are known by stamp and index, in the order of their changes."""
        for changed_at, index in sorted(changed):
            self.note(index, changed_at)

    def see(self, changed_at: int) -> None:
        """Let the stream stand behind this stamp, too, though what has it is not told."""
        self._seen_at = max(self._seen_at, changed_at)

    def take(self, limit: int) -> list[int]:
        """Take the next rows in hand."""
        taken = [index for index, _ in zip(self._waiting, range(limit), strict=False)]
        for index in taken:
            self._in_hand[index] = self._waiting.pop(index)
        return taken

    def put_back(self, indexes: Iterable[int]) -> None:
        """Have these, which are in hand and could not be read, wait again, in their place."""
        back = {index: self._in_hand.pop(index) for index in indexes}
        self._waiting = {**back, **self._waiting}

    def told(self, index: int, ended_at: int | None) -> None:
        """Note that a row was told; `ended_at` is its stamp if it was told as ended."""
        self._in_hand.pop(index, None)
        if ended_at is not None:
            heapq.heappush(self._ended_later, ended_at)

    def _settle(self) -> None:
        """Move on as far as everything was told."""
        while self._oldest and not self._is_to_be_told(*self._oldest[0]):
            heapq.heappop(self._oldest)
        # Of what one transaction changed some may be told and some not.
        reached = self._oldest[0][0] - 1 if self._oldest else self._seen_at
        # What comes late, from another server, leaves the position: the count tells of it.
        self._changed_at = max(self._changed_at, reached)
        while self._ended_later and self._ended_later[0] <= self._changed_at:
            heapq.heappop(self._ended_later)
            self._ended_rows += 1

    def _is_to_be_told(self, changed_at: int, index: int) -> bool:
        return changed_at in (self._waiting.get(index), self._in_hand.get(index))
