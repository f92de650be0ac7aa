"""Cancelling a job: the store is told first, then whoever runs it, then its end is waited for.

Promises: what waits in the queue leaves it for good in the one transaction that is told of it; of
what runs the wish is on record before anybody acts on it, so that no restart forgets it; a caller
who goes away in the middle has still cancelled the job; asking again, or two at once, is harmless.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Collection
from typing import Self

import structlog

from dshpc_server import clock, crashing, errors
from dshpc_server.batches import encoding, reports, watchers
from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey
from dshpc_server.store import committer, records

WAIT_SECONDS = 5.0
"""How long the end of what is told to stop is waited for at most."""

_log = structlog.get_logger(__name__)

Stop = Callable[[Collection[AttemptKey], str], Awaitable[None]]


class Cancelling:
    """Cancels jobs. An async context manager that owns its tasks."""

    def __init__(
        self,
        *,
        committer: committer.Committer,
        watchers: watchers.Watchers,
        encoder: encoding.ResultEncoder,
        stop: Stop,
        clock: clock.Clock,
    ) -> None:
        """`stop` has launched attempts stopped (`Dispatcher.cancel`)."""
        self._committer = committer
        self._watchers = watchers
        self._encoder = encoder
        self._stop = stop
        self._clock = clock
        self._tasks: set[asyncio.Task[records.Attempt | None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        # What is written already, whoever serves next acts on.
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def cancel(self, job_id: str, reason: str, *, wait_seconds: float) -> records.JobRecord:
        """Have a job stopped, wait a little for its end, and tell how it stands then.

        Raises NotFoundError for an unknown job.
        """
        deadline = self._clock.monotonic() + min(wait_seconds, WAIT_SECONDS)
        with self._watchers.watch([job_id]) as watch:
            attempt = await self._told_to_stop(job_id, reason)
            if attempt is None:
                raise errors.NotFoundError("job", job_id)
            has_ended = attempt.status in job.TERMINAL
            while not has_ended and await watch.wait(self._left(deadline)):
                # What is to be stopped is not retried: its end is the job's.
                has_ended = any(
                    change.key == attempt.key and change.status in job.TERMINAL
                    for change in watch.take()
                )
        record = await self._committer.read(lambda store: store.find_job(job_id))
        if record is None:
            raise errors.NotFoundError("job", job_id)
        return record

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock.monotonic())

    async def _told_to_stop(self, job_id: str, reason: str) -> records.Attempt | None:
        """Act in a task of its own: between the write and the engine no caller may go away."""
        task = asyncio.create_task(self._tell(job_id, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _tell(self, job_id: str, reason: str) -> records.Attempt | None:
        def end(attempt: records.Attempt) -> records.Ending:
            return reports.cancelled_in_queue(attempt, reason, self._encoder)

        found = await self._committer.write(lambda writer: writer.cancel([job_id], reason, end))
        for attempt in found:
            _log.info(
                "job.cancel_asked",
                job_id=job_id,
                attempt=attempt.key.number,
                status=str(attempt.status),
            )
            if attempt.status not in job.TERMINAL:
                crashing.point("cancel.recorded")
                await self._stop([attempt.key], reason)
        return found[0] if found else None
