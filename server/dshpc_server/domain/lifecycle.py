"""The lifecycle of an attempt as a table: which event moves which status where, and who moves it.

Promise: terminal statuses absorb; only a new attempt leaves them. Everything that changes a status,
and the text of `docs/job-lifecycle.md`, follows this table. Print it with
`python -m dshpc_server.domain.lifecycle`.
"""

import collections
import dataclasses
import enum
import sys

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus


class Event(enum.StrEnum):
    """What can happen to an attempt."""

    CLAIMED = "CLAIMED"
    STARTED = "STARTED"
    SUSPENDED = "SUSPENDED"
    RESUMED = "RESUMED"
    ENDED = "ENDED"
    SUCCEEDED = "SUCCEEDED"
    EXITED_NONZERO = "EXITED_NONZERO"
    KILLED_BY_SIGNAL = "KILLED_BY_SIGNAL"
    OVER_TIME = "OVER_TIME"
    OVER_MEMORY = "OVER_MEMORY"
    NOT_STARTED = "NOT_STARTED"
    LOST = "LOST"
    PREEMPTED = "PREEMPTED"
    PAST_DEADLINE = "PAST_DEADLINE"
    CANCELLED = "CANCELLED"
    DEPENDENCY_MET = "DEPENDENCY_MET"
    DEPENDENCY_FAILED = "DEPENDENCY_FAILED"


class Mover(enum.StrEnum):
    """Who makes a transition happen."""

    DISPATCHER = "dispatcher"
    ENGINE = "engine"
    RECONCILER = "reconciler"
    CLIENT = "client"
    RELEASER = "releaser"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """One line of the table."""

    source: JobStatus
    event: Event
    target: JobStatus
    mover: Mover


_LAUNCHED = (
    JobStatus.CONFIGURING,
    JobStatus.RUNNING,
    JobStatus.SUSPENDED,
    JobStatus.COMPLETING,
)
_ENDS = {
    Event.SUCCEEDED: (JobStatus.COMPLETED, Mover.RECONCILER),
    Event.EXITED_NONZERO: (JobStatus.FAILED, Mover.ENGINE),
    Event.KILLED_BY_SIGNAL: (JobStatus.FAILED, Mover.ENGINE),
    Event.OVER_TIME: (JobStatus.TIMEOUT, Mover.ENGINE),
    Event.OVER_MEMORY: (JobStatus.OUT_OF_MEMORY, Mover.ENGINE),
    Event.NOT_STARTED: (JobStatus.BOOT_FAIL, Mover.ENGINE),
    Event.LOST: (JobStatus.NODE_FAIL, Mover.ENGINE),
    Event.PREEMPTED: (JobStatus.PREEMPTED, Mover.ENGINE),
    Event.PAST_DEADLINE: (JobStatus.DEADLINE, Mover.ENGINE),
    Event.CANCELLED: (JobStatus.CANCELLED, Mover.CLIENT),
}


def _table() -> tuple[Transition, ...]:
    s, e, m = JobStatus, Event, Mover
    rows = [
        # What waits for others is a row, and no attempt yet; see `domain.dependencies`.
        (s.BLOCKED, e.DEPENDENCY_MET, s.PENDING, m.RELEASER),
        (s.BLOCKED, e.DEPENDENCY_FAILED, s.SKIPPED, m.RELEASER),
        (s.BLOCKED, e.CANCELLED, s.CANCELLED, m.CLIENT),
        (s.PENDING, e.CLAIMED, s.CONFIGURING, m.DISPATCHER),
        (s.PENDING, e.CANCELLED, s.CANCELLED, m.CLIENT),
        (s.CONFIGURING, e.STARTED, s.RUNNING, m.ENGINE),
        (s.RUNNING, e.SUSPENDED, s.SUSPENDED, m.ENGINE),
        (s.SUSPENDED, e.RESUMED, s.RUNNING, m.ENGINE),
        # Told anew to a server that took it over: what is still suspended is told so after it.
        (s.SUSPENDED, e.STARTED, s.RUNNING, m.ENGINE),
        (s.CONFIGURING, e.ENDED, s.COMPLETING, m.RECONCILER),
        (s.RUNNING, e.ENDED, s.COMPLETING, m.RECONCILER),
    ]
    rows += [
        (source, event, target, mover)
        for source in _LAUNCHED
        for event, (target, mover) in _ENDS.items()
    ]
    return tuple(
        Transition(source=source, event=event, target=target, mover=mover)
        for source, event, target, mover in rows
    )


TRANSITIONS = _table()
_TARGETS = {(t.source, t.event): t.target for t in TRANSITIONS}


def target(source: JobStatus, event: Event) -> JobStatus | None:
    """Where `event` moves an attempt in `source`; None when it does not (a late report)."""
    return _TARGETS.get((source, event))


def printed() -> str:
    """Return the table as text, one status after the other."""
    by_source: dict[JobStatus, list[Transition]] = collections.defaultdict(list)
    for transition in TRANSITIONS:
        by_source[transition.source].append(transition)
    lines = []
    for status in JobStatus:
        if status in job.TERMINAL:
            lines.append(f"{status}: terminal")
            continue
        lines.append(f"{status}:")
        lines += [f"  {t.event:<18} -> {t.target:<14} ({t.mover})" for t in by_source[status]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(printed() + "\n")
