"""Trials: of a method of which nobody knows how long it takes, a few jobs go first.

An engine may pack short jobs, several to a task, and gets through thousands of them several times
as fast - but it has to be told that they are short when they are handed over. So of a version whose
run time is neither declared nor was observed only as many jobs are handed over as run at a time;
the others stay in the queue until enough of those have ended.

Promises: nothing is held back that could run at once, nothing for longer than short jobs take to
show that they are short, and nothing at all for an engine that does not pack. Whoever is behind
what is held back, and of another method, goes past it.
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
        """After how long the first of what is held need not wait any more; None when nothing is."""

    def holds(self, claim: Claim) -> bool:
        """Whether this one is to wait for what others show."""
        trial = self.trials.get(claim.spec.function_hash)
        if trial is None or trial.full_at is None or not self._is_on_trial(claim):
            return False
        packed_seconds = self._capacity.packs_below_seconds
        left_seconds = trial.full_at + packed_seconds + STARTING_SECONDS - self._now
        if left_seconds <= 0:
            return False
        held = self.held_seconds
        self.held_seconds = left_seconds if held is None else min(held, left_seconds)
        return True

    def count(self, claim: Claim) -> None:
        """Count this one, which is handed over."""
        version = claim.spec.function_hash
        trial = self.trials.get(version, Trial())
        if trial.full_at is not None or not self._is_on_trial(claim):
            return
        at_a_time = self._capacity.cpus // claim.resources.cpus
        is_full = trial.jobs + 1 >= max(at_a_time, run_times.LEAST_RUNS)
        self.trials[version] = Trial(jobs=trial.jobs + 1, full_at=self._now if is_full else None)

    def _is_on_trial(self, claim: Claim) -> bool:
        """Whether nobody knows how long it takes, and it matters."""
        return (
            self._capacity.packs_below_seconds > 0
            and claim.spec.function_hash not in self._observed
            and not self._is_declared(claim)
        )
