"""Retrying a batch: a new one of the rows that ended and are not COMPLETED.

Promises: a row asks for the job that it named, the same version of the method among it; one that
named none asks for what its config asked for, and waits for what it came after; see `retried`. The
new batch is accepted as every other one is, so what completed meanwhile is found, and what fails
again and again is kept.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from dshpc_server import errors
from dshpc_server.batches import acceptance, request, retried
from dshpc_server.store import committer, records

Row = request.JobRequest | request.RefusedRow
Read = Callable[
    [Sequence[records.RetriableRow], Sequence[Sequence[request.Upstream]]], Sequence[Row]
]
_BATCH = "batch_id"
"""Where a request speaks of all that it asks for."""

_log = structlog.get_logger(__name__)


class Retrying:
    """Makes new batches of what did not complete."""

    def __init__(
        self,
        *,
        committer: committer.Committer,
        acceptance: acceptance.Acceptance,
        read: Read,
    ) -> None:
        """`read` makes requests of rows, by index from 0, each with what it comes after.

        It runs in a worker thread.
        """
        self._committer = committer
        self._acceptance = acceptance
        self._read = read

    async def retry(self, batch_id: str, name: records.RequestName | None) -> str:
        """Submit a new batch of those rows; its name.

        Raises NotFoundError for an unknown batch, NothingToRetryError when no row can be retried,
        and RequestReusedError.
        """
        batch = await self._committer.read(lambda store: store.find_batch(batch_id))
        if batch is None:
            raise errors.NotFoundError("batch", batch_id)
        # Asked again it is answered with its batch, whatever there is to retry by now.
        known = await self._acceptance.find(name)
        if known is not None:
            return known
        rows, upstreams = await self._retried(batch_id)
        asked = request.BatchRequest(
            rows=await asyncio.to_thread(self._read, rows, upstreams),
            display_name=batch.display_name,
            priority=batch.priority,
            upstream_jobs=dict.fromkeys(await asyncio.to_thread(retried.jobs, upstreams), _BATCH),
            name=name,
        )
        by = await self._accepted(asked)
        _log.info("batch.retried", batch_id=batch_id, by=by, rows=len(rows))
        return by

    async def _retried(
        self, batch_id: str
    ) -> tuple[Sequence[records.RetriableRow], Sequence[Sequence[request.Upstream]]]:
        """The rows that are retried, each with what it comes after."""
        found = await self._committer.read(lambda store: store.find_retriable_rows(batch_id))
        chosen = await asyncio.to_thread(retried.Retried, found)
        if not chosen.rows:
            raise errors.NothingToRetryError(batch_id)
        # A row that was not found has its run for good, whatever has become of it meanwhile.
        others = await self._committer.read(
            lambda store: store.find_row_states_by_index(batch_id, chosen.others)
        )
        completed = await self._committer.read(lambda store: store.find_completed(chosen.chains))
        return chosen.rows, await asyncio.to_thread(chosen.upstreams, others, completed)

    async def _accepted(self, asked: request.BatchRequest) -> str:
        with contextlib.ExitStack() as watching:
            if self._acceptance.is_large(asked):
                large = await self._acceptance.accept_large(asked, watching)
                await large.until_shown()
                return large.batch_id
            accepted = await self._acceptance.accept(asked, watching, is_watched=False)
        return accepted.batch_id
