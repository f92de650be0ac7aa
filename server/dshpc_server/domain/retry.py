"""The retry decision: whether an attempt that failed is followed by another, and when.

Promises: only what may go better the next time is tried again by itself, a bounded number of times
in a row, ever later; the delays of many that failed at one moment are spread, so that they do not
all come back at one moment.
"""

import dataclasses

from dshpc_server.domain.lifecycle import Event

RETRIABLE_EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: the method says that running it again may help."""
LONGEST_DELAY_SECONDS = 86_400.0
"""No delay is longer, whatever the settings say."""

_PASSING = frozenset({Event.LOST, Event.PREEMPTED, Event.NOT_STARTED})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How often, and after how long, attempts are retried."""

    max_retries: int = 3
    """In a row; 0: never."""
    first_seconds: float = 1.0
    """The delay before the first retry; it doubles with each."""
    last_seconds: float = 300.0
    """The longest delay."""

    def delay_seconds(
        self, *, event: Event, exit_code: int | None, retries: int, chance: float
    ) -> float | None:
        """How long to wait before the next attempt; None: there is none.

        `retries` led to the attempt that has ended. `chance`, from 0 to 1, is the caller's die:
        the delay is between half of what is due and all of it.
        """
        is_passing = event in _PASSING or (
            event is Event.EXITED_NONZERO and exit_code == RETRIABLE_EXIT_CODE
        )
        if not is_passing or retries >= self.max_retries:
            return None
        # Not more doublings than lead to the longest delay: of ever larger powers there is no end.
        due = min(self.first_seconds * 2.0 ** min(retries, 60), self.last_seconds)
        return min(due, LONGEST_DELAY_SECONDS) * (1 + chance) / 2
