"""How long to wait before going on with something that was cut off, and when to give up."""

import dataclasses
import random
from collections.abc import Callable

from dshpc.client import errors

DEADLINE_SECONDS = 60.0
"""How long a small call may take."""
ACCEPTING_SECONDS = 300.0
"""How much longer one may that has a batch accepted: of 100,000 rows on a busy machine a minute."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How patiently streams of batches, uploads, downloads, logs and watches go on when cut off.

    Pauses double from the first to the longest; each is shortened by up to a half at random, so
    that clients do not come back all at once. The default gives up after about a minute.
    """

    attempts: int = 10
    """Failures in a row, without any progress between them, after which the last one is raised."""
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 15.0


class Backoff:
    """The pauses of one thing that is tried again.

    Without `from_the_start`, a failure before any progress is raised at once: gRPC has tried such
    calls several times already.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        from_the_start: bool = False,
        # Not a secret: it spreads clients over time.
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._has_begun = from_the_start
        self._chance = chance
        self._failures = 0

    def progressed(self) -> None:
        """Something came of it: the next failure is the first again."""
        self._has_begun = True
        self._failures = 0

    def pause_seconds(self, error: errors.CallError) -> float:
        """Return how long to wait before going on; raises the error when it is time to give up."""
        self._failures += 1
        if not self._has_begun or self._failures >= self._policy.attempts:
            raise error
        # Doubling is bounded before it is computed: 2 ** 1100 is no float.
        doubled = self._policy.first_pause_seconds * 2.0 ** min(self._failures - 1, 30)
        longest = min(doubled, self._policy.longest_pause_seconds)
        shortened = longest * (1 - self._chance() / 2)
        return max(shortened, error.retry_after_seconds or 0.0)
