"""Accepting a batch: prepared, watched, stored; again, if what it needs goes meanwhile.

Promise: the watch is set before the batch is accepted, so no change of it is missed.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence

import structlog

from dshpc_server import crashing, errors
from dshpc_server.batches import content, progress, releasing, request, resolver, watchers
from dshpc_server.domain.job import Outcome
from dshpc_server.store.port import ContentGoingError
from dshpc_server.store.records import NewBatch, Row

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A batch that was accepted, or only validated (then it has no name)."""

    batch_id: str
    rows: Sequence[Row]
    progress: progress.BatchProgress
    watch: watchers.BatchWatch | None
    """None when nothing is waited for."""


class Acceptance:
    """Accepts batches."""

    def __init__(
        self,
        *,
        resolver: resolver.Resolver,
        releasing: releasing.Releasing,
        watchers: watchers.Watchers,
    ) -> None:
        self._resolver = resolver
        self._releasing = releasing
        self._watchers = watchers

    async def accept(
        self, asked: request.BatchRequest, watching: contextlib.ExitStack, *, is_watched: bool
    ) -> Accepted:
        """Accept a batch, or look what accepting it would do; watched until `watching` is left.

        What it needs may be deleted meanwhile by another server: then it is prepared anew. Raises
        BeingRemovedError when that comes to no end.
        """
        going = ""
        for pause_seconds in content.GOING_PAUSES_SECONDS:
            with contextlib.ExitStack() as watching_this:
                try:
                    accepted = await self._accept(asked, watching_this, is_watched=is_watched)
                except ContentGoingError as error:
                    going = error.file_hash
                else:
                    watching.push(watching_this.pop_all())
                    return accepted
            await asyncio.sleep(pause_seconds)
        raise errors.BeingRemovedError(
            "file", going, retry_after_seconds=content.GOING_PAUSES_SECONDS[-1]
        )

    async def _accept(
        self, asked: request.BatchRequest, watching: contextlib.ExitStack, *, is_watched: bool
    ) -> Accepted:
        async with self._resolver.prepared(asked) as prepared:
            watch = None
            if asked.validate_only:
                rows = await self._resolver.preview(prepared)
            else:
                if is_watched:
                    watch = watching.enter_context(
                        self._watchers.watch_batch(
                            prepared.batch.batch_id, _job_ids(prepared.batch)
                        )
                    )
                rows = await self._resolver.accept(prepared)
        if not asked.validate_only and any(row.outcome is Outcome.PENDING for row in rows):
            # What had ended before lets them go on at once.
            await self._releasing.begin(prepared.batch.batch_id)
            rows = await self._resolver.stored(prepared.batch)
        accepted = Accepted(
            batch_id=prepared.batch.batch_id,
            rows=rows,
            progress=progress.BatchProgress.of_rows(rows),
            watch=watch,
        )
        if not asked.validate_only:
            crashing.point("batch.accepted")
            _tell(accepted)
        return accepted


def _tell(accepted: Accepted) -> None:
    counts = accepted.progress.statistics()
    _log.info(
        "batch.accepted",
        batch_id=accepted.batch_id,
        rows=counts.total_jobs,
        submitted=counts.successful_submissions,
        rejected=counts.failed_submissions,
    )


def _job_ids(batch: NewBatch) -> set[str]:
    return {row.candidate.spec.job_id for row in batch.rows if row.candidate is not None}
