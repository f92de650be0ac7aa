"""The look-up decision: what to do about a config, given the newest attempt of its job.

Promise: one decision per row, made once; a completed or running job is never run again.
"""

import dataclasses

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What is to be done about one row."""

    outcome: Outcome
    old_status: JobStatus | None
    """How the earlier attempt ended, when a new one is due."""

    @property
    def submits(self) -> bool:
        """Whether a new attempt is due."""
        return self.outcome in (Outcome.SUBMITTED, Outcome.RESUBMITTED)


_SUBMIT = Decision(outcome=Outcome.SUBMITTED, old_status=None)
_WAIT = Decision(outcome=Outcome.FOUND_IN_PROGRESS, old_status=None)
_ANSWER = Decision(outcome=Outcome.FOUND_COMPLETED, old_status=None)
_DECISIONS = {
    **dict.fromkeys(job.IN_PROGRESS, _WAIT),
    JobStatus.COMPLETED: _ANSWER,
    **{
        status: Decision(outcome=Outcome.RESUBMITTED, old_status=status)
        for status in (*job.FAILED, JobStatus.CANCELLED, JobStatus.SKIPPED)
    },
}


def decide(newest: JobStatus | None) -> Decision:
    """Decide a row by the status of its job's newest attempt (None: no such job)."""
    return _SUBMIT if newest is None else _DECISIONS[newest]
