"""The look-up decision: what to do about a config, given how its job stands and what was asked.

Promises: one decision per row, made once; a running job is never run beside itself, a completed one
never again unless the caller asks for that; a failing one is run again a bounded number of times.
"""

import dataclasses
import datetime
import enum

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome

ATTEMPT_WINDOW = datetime.timedelta(hours=24)
"""How far back failed attempts count towards `max_attempts`."""
PERMANENT_EXIT_CODE = 78
"""EX_CONFIG of sysexits.h: the method says that running it again cannot help."""


class CachePolicy(enum.StrEnum):
    """Whether what was computed before may be the answer."""

    USE = "USE"
    REFRESH = "REFRESH"
    """Run anew; the result replaces the earlier one once it has completed."""
    BYPASS = "BYPASS"
    """Run anew for this request alone; look-ups go on finding what they found before."""
    ONLY = "ONLY"
    """Never run anything."""


class ResubmitPolicy(enum.StrEnum):
    """What happens to a job that failed or was cancelled before."""

    ALWAYS = "ALWAYS"
    RETRIABLE = "RETRIABLE"
    """Run it again unless the method said that this cannot help."""
    NEVER = "NEVER"


class Kept(enum.StrEnum):
    """Why an earlier failure is the answer."""

    ONLY = "ONLY"
    """The cache policy runs nothing."""
    NEVER = "NEVER"
    """The resubmit policy runs nothing again."""
    PERMANENT = "PERMANENT"
    """The method said that running it again cannot help, and the resubmit policy heeds it."""
    MAX_ATTEMPTS = "MAX_ATTEMPTS"
    """It failed too often within the window."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a row asks of its look-up."""

    cache: CachePolicy = CachePolicy.USE
    resubmit: ResubmitPolicy = ResubmitPolicy.ALWAYS
    max_attempts: int = 5
    """Failed attempts within the window, after which a request does not run the job again."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a job stands: the attempt that answers look-ups now."""

    status: JobStatus
    replaced: JobStatus | None = None
    """How the failed attempt before it ended; None when it did not follow on one."""
    exit_code: int | None = None
    has_output: bool = True
    """Whether the output of a completed one is still stored."""
    failures: int = 0
    """Failed attempts within the window, since the last REFRESH. Counted for failed ones only."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What is to be done about one row."""

    outcome: Outcome
    old_status: JobStatus | None = None
    """How the earlier attempt ended, when a new one is due, is running, or is not due."""
    kept: Kept | None = None
    """Given if and only if the outcome is FAILURE_KEPT."""

    @property
    def submits(self) -> bool:
        """Whether a new attempt is due."""
        return self.outcome in (Outcome.SUBMITTED, Outcome.RESUBMITTED)


_SUBMIT = Decision(outcome=Outcome.SUBMITTED)
_ANSWER = Decision(outcome=Outcome.FOUND_COMPLETED)
_NOT_FOUND = Decision(outcome=Outcome.NOT_FOUND)
_WAIT = Decision(outcome=Outcome.FOUND_IN_PROGRESS)
_ANEW = (CachePolicy.REFRESH, CachePolicy.BYPASS)


def decide(standing: Standing | None, policy: Policy) -> Decision:
    """Decide a row by how its job stands (None: nothing that a look-up may find)."""
    if standing is None:
        return _NOT_FOUND if policy.cache is CachePolicy.ONLY else _SUBMIT
    if standing.status in job.IN_PROGRESS:
        if standing.replaced is None:
            return _WAIT
        return Decision(outcome=Outcome.FOUND_IN_PROGRESS, old_status=standing.replaced)
    if standing.status is JobStatus.COMPLETED:
        return _decide_completed(standing, policy)
    kept = _kept(standing, policy)
    if kept is not None:
        return Decision(outcome=Outcome.FAILURE_KEPT, old_status=standing.status, kept=kept)
    return Decision(outcome=Outcome.RESUBMITTED, old_status=standing.status)


def _decide_completed(standing: Standing, policy: Policy) -> Decision:
    if policy.cache in _ANEW:
        return _SUBMIT
    if standing.has_output:
        return _ANSWER
    return _NOT_FOUND if policy.cache is CachePolicy.ONLY else _SUBMIT


def _kept(standing: Standing, policy: Policy) -> Kept | None:
    """Why a failed job is not run again; None when it is."""
    if policy.cache is CachePolicy.ONLY:
        return Kept.ONLY
    if policy.cache in _ANEW:
        return None
    if policy.resubmit is ResubmitPolicy.NEVER:
        return Kept.NEVER
    if policy.resubmit is ResubmitPolicy.RETRIABLE and standing.exit_code == PERMANENT_EXIT_CODE:
        return Kept.PERMANENT
    return Kept.MAX_ATTEMPTS if standing.failures >= policy.max_attempts else None
