"""Jobs as the store tells them, and a committer that reads them from a dictionary."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar, cast

from dshpc_server.batches import reports
from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus
from dshpc_server.store import committer, port, records
from dshpc_server.transport import encoder
from support import batches_values as values
from support import store_values

T = TypeVar("T")


def record(
    name: object = "job",
    status: JobStatus = JobStatus.PENDING,
    *,
    number: int = 1,
    revision: int = 1,
    cancel_reason: str | None = None,
    reason: str = "",
    earlier: Sequence[JobStatus] = (),
    parameters_json: str = '{"n":1}',
) -> records.JobRecord:
    """A job whose newest attempt is in this status, after so many that ended in others."""
    newest = _attempt(name, status, number + len(earlier), revision, cancel_reason, reason)
    before = [
        _attempt(name, status, at, revision, None, "before") for at, status in enumerate(earlier, 1)
    ]
    spec = dataclasses.replace(store_values.spec(name), parameters_json=parameters_json)
    return records.JobRecord(spec=spec, newest=newest, attempts=[*before, newest])


def never_started(record: records.JobRecord) -> records.JobRecord:
    """The same job, but that its newest attempt ended in the queue."""
    attempt = dataclasses.replace(record.newest.attempt, started_at=None)
    newest = dataclasses.replace(record.newest, attempt=attempt)
    return dataclasses.replace(record, newest=newest, attempts=[*record.attempts[:-1], newest])


def _attempt(
    name: object,
    status: JobStatus,
    number: int,
    revision: int,
    cancel_reason: str | None,
    reason: str,
) -> records.AttemptRecord:
    was_started = status not in (JobStatus.PENDING, JobStatus.CONFIGURING)
    ending = None
    if status in job.TERMINAL:
        failed = status is not JobStatus.COMPLETED
        ended = values.ended(status, name, number=number, exit_code=int(failed), reason=reason)
        ending = reports.ending(ended, encoder.MultiJobResultEncoder())
    return records.AttemptRecord(
        attempt=values.attempt(
            name,
            status,
            number=number,
            revision=revision,
            started_at=values.STARTED_AT if was_started else None,
        ),
        ending=ending,
        engine_job_id="4711" if was_started else "",
        node="here" if was_started else "",
        cancel_reason=cancel_reason,
    )


class Records:
    """A store's reader, and a committer that asks it, whose jobs the test sets."""

    def __init__(self, *jobs: records.JobRecord) -> None:
        self.jobs = {record.spec.job_id: record for record in jobs}
        self.reads = 0
        self.asked: list[int] = []
        """The limits of what was listed."""
        self.before_read: Callable[[], object] = lambda: None

    def put(self, changed: records.JobRecord) -> records.Attempt:
        """Commit a change; the attempt as watchers are told of it."""
        self.jobs[changed.spec.job_id] = changed
        return changed.newest.attempt

    async def read(self, question: Callable[[port.Reader], T]) -> T:
        self.reads += 1
        answer = question(cast("Any", self))
        self.before_read()
        return answer

    def find_job(self, job_id: str) -> records.JobRecord | None:
        return self.jobs.get(job_id)

    def find_jobs(
        self,
        *,
        after: records.ListPosition | None,
        limit: int,
        statuses: Collection[JobStatus] = (),
        method_name: str = "",
    ) -> Sequence[records.JobRecord]:
        self.asked.append(limit)
        found = [
            each
            for each in self.jobs.values()
            if (not statuses or each.newest.attempt.status in statuses)
            and (not method_name or each.spec.method_name == method_name)
            and (after is None or place(each) < (after.at, after.name))
        ]
        return sorted(found, key=place, reverse=True)[:limit]

    def as_committer(self) -> committer.Committer:
        return cast("committer.Committer", self)

    def as_reader(self) -> port.Reader:
        return cast("port.Reader", self)


def place(each: records.JobRecord) -> tuple[Any, str]:
    """Where a job stands among all, the oldest first."""
    return each.newest.attempt.created_at, each.spec.job_id
