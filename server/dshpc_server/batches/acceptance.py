"""Accepting a batch: prepared, watched, stored; again, if what it needs goes meanwhile.

Promise: the watch is set before the batch is accepted, so no change of it is missed.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence

import structlog

from dshpc_server import crashing, errors
from dshpc_server.batches import content, progress, request, resolver, staging, watchers
from dshpc_server.domain import statistics
from dshpc_server.domain.statistics import Statistics
from dshpc_server.store import committer
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
        staging: staging.Staging,
        committer: committer.Committer,
        watchers: watchers.Watchers,
    ) -> None:
        self._resolver = resolver
        self._staging = staging
        self._committer = committer
        self._watchers = watchers

    def is_large(self, asked: request.BatchRequest) -> bool:
        """Whether a batch is accepted in pieces, and best read back in pages."""
        return self._staging.is_large(asked) and not asked.validate_only

    async def accept_large(self, asked: request.BatchRequest) -> tuple[str, Statistics]:
        """Accept a large batch; its name, and the counts of its rows now."""
        batch_id = await self._staging.accept(asked)
        found = await self._committer.read(lambda store: store.find_tallies([batch_id]))
        tally = statistics.Tally()
        for (outcome, status), rows in found[batch_id].rows.items():
            tally.add(outcome, status, rows)
        _tell(batch_id, tally.snapshot())
        return batch_id, tally.snapshot()

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
        accepted = Accepted(
            batch_id=prepared.batch.batch_id,
            rows=rows,
            progress=progress.BatchProgress.of_rows(rows),
            watch=watch,
        )
        if not asked.validate_only:
            crashing.point("batch.accepted")
            _tell(accepted.batch_id, accepted.progress.statistics())
        return accepted


def _tell(batch_id: str, counts: Statistics) -> None:
    _log.info(
        "batch.accepted",
        batch_id=batch_id,
        rows=counts.total_jobs,
        submitted=counts.successful_submissions,
        rejected=counts.failed_submissions,
    )


def _job_ids(batch: NewBatch) -> set[str]:
    return {row.candidate.spec.job_id for row in batch.rows if row.candidate is not None}
