"""Trials: of a method of which nobody knows how long it takes, a few jobs go first.

An engine may pack short jobs, several to a task, and gets through thousands of them several times
as fast - but it has to be told that they are short when they are handed over. So of a version whose
run time is neither declared nor was observed only as many jobs are handed over as run at a time;
the others stay in the queue until enough of those have ended.

Promises: nothing is held back that could run at once, nothing for longer than short jobs take to
show that they are short, and nothing at all for an engine that does not pack. What is held back is
the first of the queue: whoever is behind it waits, too.
"""

import dataclasses
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from dshpc_server import clock
from dshpc_server.batches import run_times
from dshpc_server.engine.port import Capacity
from dshpc_server.store.records import Claim

WHY = "waits until the first jobs of its method have shown how long they take"
STARTING_SECONDS = 3.0
"""What a scheduler that has room needs to start a job, and we to hear of its end."""
_MOST_VERSIONS = 1000
"""Of so many versions trials are remembered; the one that began longest ago is forgotten."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """That of one version."""

    jobs: int = 0
    """How many were handed over."""
    full_at: float | None = None
    """Since when it is enough, by the monotonic clock; None while it is not."""


class Trials:
    """All of them. For the event loop's thread alone."""

    def __init__(
        self,
        *,
        run_times: run_times.RunTimes,
        is_declared: Callable[[Claim], bool],
        clock: clock.Clock,
    ) -> None:
        """`is_declared` says, in any thread, that an attempt's method tells how long it takes."""
        self._run_times = run_times
        self._is_declared = is_declared
        self._clock = clock
        self._trials: Mapping[str, Trial] = {}

    def round(self, capacity: Capacity) -> "Round":
        """What may be handed over now."""
        return Round(
            trials=self._trials,
            observed=self._run_times.observed,
            is_declared=self._is_declared,
            capacity=capacity,
            now=self._clock.monotonic(),
        )

    def keep(self, done: "Round") -> None:
        """Take note of what was handed over."""
        kept = [each for each in done.trials.items() if each[0] not in self._run_times.observed]
        self._trials = dict(kept[-_MOST_VERSIONS:])


class Round:
    """What may be handed over at a time, counted. In any one thread."""

    def __init__(
        self,
        *,
        trials: Mapping[str, Trial],
        observed: AbstractSet[str],
        is_declared: Callable[[Claim], bool],
        capacity: Capacity,
        now: float,
    ) -> None:
        self._before = trials
        self._observed = observed
        self._is_declared = is_declared
        self._capacity = capacity
        self._now = now
        self.restart()

    def restart(self) -> None:
        """Begin anew: what was counted is not handed over."""
        self.trials = dict(self._before)
        """By function_hash, those that began longest ago first."""
        self.held_seconds: float | None = None
        """How long what was not admitted is to be held at most; None when everything was."""

    def admits(self, claim: Claim) -> bool:
        """Whether this one may be handed over; counts it."""
        packed_seconds, version = self._capacity.packs_below_seconds, claim.spec.function_hash
        if not packed_seconds or version in self._observed or self._is_declared(claim):
            return True
        trial = self.trials.get(version, Trial())
        if trial.full_at is None:
            at_a_time = self._capacity.cpus // claim.resources.cpus
            is_full = trial.jobs + 1 >= max(at_a_time, run_times.LEAST_RUNS)
            full_at = self._now if is_full else None
            self.trials[version] = Trial(jobs=trial.jobs + 1, full_at=full_at)
            return True
        left_seconds = trial.full_at + packed_seconds + STARTING_SECONDS - self._now
        if left_seconds <= 0:
            return True
        self.held_seconds = left_seconds
        return False
