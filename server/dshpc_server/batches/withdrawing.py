"""Withdrawing a batch's interest: what nobody else waits for is stopped, the rest goes on.

Promises: rows are withdrawn in one transaction, all or none, and what is to be stopped is on record
before anybody acts on it, so that no restart forgets it; a caller who goes away in the middle has
withdrawn all the same; asking again, or two at once, is harmless.
"""

import asyncio
import datetime
import enum
import types
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Self

import structlog

from dshpc_server import crashing, errors
from dshpc_server.batches import encoding, endings, reports
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.rejection import Violation
from dshpc_server.store import committer, records

_log = structlog.get_logger(__name__)

Stop = Callable[[Collection[AttemptKey], str], Awaitable[None]]


class Cause(enum.StrEnum):
    """What made a batch withdraw its interest, as the log tells it."""

    ASKED = "asked"
    MAX_FAILURES = "max_failures"
    DISCONNECTED = "disconnected"


class Withdrawing:
    """Withdraws rows of batches. An async context manager that owns its tasks."""

    def __init__(
        self,
        *,
        committer: committer.Committer,
        encoder: encoding.ResultEncoder,
        stop: Stop,
    ) -> None:
        """`stop` has launched attempts stopped (`Dispatcher.cancel`)."""
        self._committer = committer
        self._encoder = encoder
        self._stop = stop
        self._tasks: set[asyncio.Task[records.Withdrawn]] = set()

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

    async def withdraw(
        self, batch_id: str, reason: str, cause: Cause, indexes: Sequence[int] = ()
    ) -> records.Withdrawn:
        """Withdraw these rows of a batch, without any all of them; what became of them.

        Raises NotFoundError for an unknown batch, and InvalidRequestError for an index that it has
        not; nothing is withdrawn then.
        """
        if indexes:
            batch = await self._committer.read(lambda store: store.find_batch(batch_id))
            if batch is None:
                raise errors.NotFoundError("batch", batch_id)
            _check(indexes, batch.row_count)
        asked = records.Withdrawal(batch_id=batch_id, indexes=indexes or None, reason=reason)
        return await self._told_to_withdraw(asked, cause)

    async def _told_to_withdraw(self, asked: records.Withdrawal, cause: Cause) -> records.Withdrawn:
        """Act in a task of its own: between the write and the engine no caller may go away."""
        task = asyncio.create_task(self._tell(asked, cause))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _tell(self, asked: records.Withdrawal, cause: Cause) -> records.Withdrawn:
        def end(attempt: records.Attempt) -> records.Ending:
            return reports.cancelled_in_queue(attempt, asked.reason, self._encoder)

        def end_row(attempt: records.Attempt | None, at: datetime.datetime) -> bytes:
            why = endings.cancelled(asked.reason)
            if attempt is not None:
                why += " (its run goes on for others)"
            return self._encoder.row_ending(JobStatus.CANCELLED, why, at, attempt)

        withdrawn = await self._committer.write(lambda writer: writer.withdraw(asked, end, end_row))
        if withdrawn is None:
            raise errors.NotFoundError("batch", asked.batch_id)
        _log.info(
            "batch.withdrawn",
            batch_id=asked.batch_id,
            cause=str(cause),
            rows=None if asked.indexes is None else len(set(asked.indexes)),
            cancel_requested=withdrawn.cancel_requested,
            detached=withdrawn.detached,
            already_terminal=withdrawn.already_terminal,
        )
        if withdrawn.to_stop:
            crashing.point("withdrawal.recorded")
            await self._stop(withdrawn.to_stop, asked.reason)
        return withdrawn


def _check(indexes: Sequence[int], row_count: int) -> None:
    violations = [
        Violation(field=f"indexes[{position}]", description=f"the batch has no row {index}")
        for position, index in enumerate(indexes)
        if not 0 <= index < row_count
    ]
    if violations:
        raise errors.InvalidRequestError(*violations)
