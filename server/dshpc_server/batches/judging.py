"""Judging: what becomes of each attempt at the head of the queue, while there is room for some.

Promises: what all that were taken declared fits into what there was; one too large for what is left
stops the others, unless it is too large for the whole engine, which is no reason to wait; one that
waits for its method's trial holds up nobody.
"""

from dshpc_server.batches import admission, trials
from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.domain.queue import Verdict
from dshpc_server.engine.port import Capacity
from dshpc_server.store.records import Claim


class Judge:
    """Judges attempts in the order of the queue, and keeps count of what it granted."""

    def __init__(
        self, *, capacity: Capacity, in_use: Resources, attempts: int, trial: trials.Round
    ) -> None:
        """`attempts` use `in_use` together."""
        self._capacity = capacity
        self._in_use = in_use
        self._attempts = attempts
        self._trial = trial
        self.restart()

    def restart(self) -> None:
        """Begin anew: what was granted is not taken."""
        self._trial.restart()
        self._left = admission.Room(self._capacity, self._in_use, self._attempts)
        self._shortage = ""
        self.held: set[AttemptKey] = set()
        """Those that wait for their method's trial, as far as was looked."""

    @property
    def most_jobs(self) -> int:
        """How many may be taken yet, at the most."""
        return self._left.most_jobs

    @property
    def shortage(self) -> str:
        """What the others wait for; empty when nobody waits."""
        return self._shortage or (trials.WHY if self.held else "")

    def verdict(self, claim: Claim) -> Verdict:
        """Judge the next one."""
        if self._trial.holds(claim):
            self.held.add(claim.key)
            return Verdict.STEP_OVER
        if self._left.take(claim.resources):
            self._trial.count(claim)
            return Verdict.TAKE
        if admission.refusal(claim.resources, self._capacity) is not None:
            return Verdict.TAKE
        self._shortage = waits_for(self._left, claim.resources)
        return Verdict.STOP


def waits_for(left: admission.Room, wanted: Resources) -> str:
    """What an attempt waits for that needs this."""
    return f"waits for {left.shortage(wanted)}"
