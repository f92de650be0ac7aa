"""Waiting for one job: a long poll that reads, and never submits.

Promise: the watch is set before the first read, so no change falls between the two; whatever ends
the wait, the answer is the job as it is then.
"""

import dataclasses

from dshpc_server import clock, errors
from dshpc_server.batches import watchers
from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus
from dshpc_server.store import committer, records


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """What is waited for, and how long."""

    seconds: float
    """0: not at all."""
    known_status: JobStatus | None = None
    """Wait for another status than this; None: for the end."""

    def is_over(self, status: JobStatus) -> bool:
        """Whether this is what is waited for."""
        if self.known_status is None:
            return status in job.TERMINAL
        return status is not self.known_status


class Polling:
    """Reads jobs, at once or when they have changed."""

    def __init__(
        self, *, committer: committer.Committer, watchers: watchers.Watchers, clock: clock.Clock
    ) -> None:
        self._committer = committer
        self._watchers = watchers
        self._clock = clock

    async def job(self, job_id: str, wait: Wait) -> records.JobRecord:
        """Read a job when the wait is over; raises NotFoundError."""
        if wait.seconds <= 0:
            return await self._read(job_id)
        deadline = self._clock.monotonic() + wait.seconds
        with self._watchers.watch([job_id]) as watch:
            record = await self._read(job_id)
            while not wait.is_over(record.newest.attempt.status):
                has_changed = await self._changed(watch, record.newest.attempt, wait, deadline)
                record = await self._read(job_id)
                # Another status was there, even if the job has the known one again by now.
                if not has_changed or wait.known_status is not None:
                    break
            return record

    async def _changed(
        self, watch: watchers.Watch, known: records.Attempt, wait: Wait, deadline: float
    ) -> bool:
        """Wait until the watch tells of what is waited for; False when the time is over."""
        while await watch.wait(max(0.0, deadline - self._clock.monotonic())):
            for change in watch.take():
                # What is older was there when the job was read; what is retried never showed.
                is_new = change.revision > known.revision and not change.is_retried
                if is_new and wait.is_over(change.status):
                    return True
        return False

    async def _read(self, job_id: str) -> records.JobRecord:
        record = await self._committer.read(lambda store: store.find_job(job_id))
        if record is None:
            raise errors.NotFoundError("job", job_id)
        return record
