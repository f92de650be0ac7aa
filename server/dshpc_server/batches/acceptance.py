"""Accepting a batch: prepared, watched, stored; again, if what it needs goes meanwhile.

Promises: the watch is set before the batch is accepted, so no change of it is missed; a request
that has a name is accepted once, however often and by however many it is asked; what follows from
an acceptance is done also when its call is lost meanwhile.
"""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Coroutine, Sequence

import structlog

from dshpc_server import crashing, errors
from dshpc_server.batches import (
    content,
    disconnects,
    failure_limits,
    progress,
    releasing,
    request,
    resolver,
    showing,
    staging,
    watchers,
)
from dshpc_server.domain.job import Outcome
from dshpc_server.domain.statistics import Statistics
from dshpc_server.files import staying
from dshpc_server.store import committer
from dshpc_server.store.port import ContentGoingError, RequestAcceptedError
from dshpc_server.store.records import AcceptedRequest, NewBatch, RequestName, Row

_ALL_ROWS = 1_000_000
"""More than a batch can have."""
_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A batch that was accepted, or only validated (then it has no name)."""

    batch_id: str
    rows: Sequence[Row]
    progress: progress.BatchProgress
    watch: watchers.BatchWatch | None
    """None when nothing is waited for."""
    is_duplicate: bool = False
    """It was accepted before, as a request of the same name."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedLarge:
    """A large batch that was accepted; its rows are in the store once it is shown."""

    batch_id: str
    total_jobs: int
    is_duplicate: bool
    """It was accepted before, as a request of the same name."""
    until_shown: Callable[[], Coroutine[None, None, Statistics]]
    """Waits until it is shown; how its rows stood then."""


class Acceptance:
    """Accepts batches."""

    def __init__(
        self,
        *,
        resolver: resolver.Resolver,
        staging: staging.Staging,
        releasing: releasing.Releasing,
        showing: showing.Showing,
        committer: committer.Committer,
        watchers: watchers.Watchers,
        disconnects: disconnects.Disconnects,
        failure_limits: failure_limits.FailureLimits,
    ) -> None:
        self._resolver = resolver
        self._staging = staging
        self._releasing = releasing
        self._showing = showing
        self._committer = committer
        self._watchers = watchers
        self._disconnects = disconnects
        self._failure_limits = failure_limits

    def is_large(self, asked: request.BatchRequest) -> bool:
        """Whether a batch is accepted in pieces, and best read back in pages."""
        return self._staging.is_large(asked) and not asked.validate_only

    async def accept_large(
        self, asked: request.BatchRequest, watching: contextlib.ExitStack
    ) -> AcceptedLarge:
        """Accept a large batch: it is durable when this returns, and shown a while later.

        Its call follows it until `watching` is left. Raises RequestReusedError when its name is
        that of a request that asked otherwise.
        """

        def call(batch_id: str) -> None:
            # Before it is stored: a call that is lost meanwhile does not take that back.
            cancels = asked.cancel_on_disconnect
            watching.enter_context(self._disconnects.calling(batch_id, cancels=cancels))

        batch_id = await self.find(asked.name)
        if batch_id is None:
            try:
                sealed = await self._staging.accept(asked, call)
            except RequestAcceptedError as error:  # somebody was quicker
                batch_id = await self._shown(_batch_of(error.accepted, asked.name))
            else:
                return AcceptedLarge(
                    batch_id=sealed.batch_id,
                    total_jobs=len(asked.rows),
                    is_duplicate=False,
                    until_shown=functools.partial(self._begun, sealed),
                )
        call(batch_id)
        counts = await self._counts(batch_id)
        _log.info("batch.asked_again", batch_id=batch_id, rows=counts.total_jobs)
        return AcceptedLarge(
            batch_id=batch_id,
            total_jobs=counts.total_jobs,
            is_duplicate=True,
            until_shown=functools.partial(self._counts, batch_id),
        )

    async def _begun(self, sealed: staging.Sealed) -> Statistics:
        """Wait until a batch is shown, and what had ended before lets its rows go on."""
        counts = await sealed.until_shown()
        if not counts.undecided_jobs:
            return counts
        await self._releasing.begin(sealed.batch_id)
        return await self._counts(sealed.batch_id)

    async def _counts(self, batch_id: str) -> Statistics:
        found = await self._committer.read(lambda store: store.find_tallies([batch_id]))
        return found[batch_id].statistics

    async def accept(
        self, asked: request.BatchRequest, watching: contextlib.ExitStack, *, is_watched: bool
    ) -> Accepted:
        """Accept a batch, or look what accepting it would do; watched until `watching` is left.

        What it needs may be deleted meanwhile by another server: then it is prepared anew. Raises
        BeingRemovedError when that comes to no end, and RequestReusedError when its name is that
        of a request that asked otherwise.
        """
        name = None if asked.validate_only else asked.name
        batch_id = await self.find(name)
        if batch_id is None:
            try:
                return await self._accept_new(asked, watching, is_watched=is_watched)
            except RequestAcceptedError as error:  # somebody was quicker
                batch_id = await self._shown(_batch_of(error.accepted, name))
        cancels = asked.cancel_on_disconnect
        watching.enter_context(self._disconnects.calling(batch_id, cancels=cancels))
        return await self._again(batch_id, watching, is_watched=is_watched)

    async def find(self, name: RequestName | None) -> str | None:
        """The batch of a request of this name, if it was accepted; it is shown by then.

        Raises RequestReusedError, and UnavailableError when it takes too long to be shown.
        """
        if name is None:
            return None
        accepted = await self._committer.read(lambda store: store.find_request(name.request_id))
        return None if accepted is None else await self._shown(_batch_of(accepted, name))

    async def _shown(self, batch_id: str) -> str:
        """Wait until a batch that was accepted before is shown; its name."""
        await self._showing.until_shown(batch_id)
        return batch_id

    async def _again(
        self, batch_id: str, watching: contextlib.ExitStack, *, is_watched: bool
    ) -> Accepted:
        """A batch that was accepted before, as it stands."""
        rows, watch = await self._rows(batch_id), None
        if is_watched:
            jobs = {row.attempt.key.job_id for row in rows if row.attempt is not None}
            watch = watching.enter_context(self._watchers.watch_batch(batch_id, jobs))
            rows = await self._rows(batch_id)  # what has changed before the watch was set
        _log.info("batch.asked_again", batch_id=batch_id, rows=len(rows))
        return Accepted(
            batch_id=batch_id,
            rows=rows,
            progress=progress.BatchProgress.of_rows(rows),
            watch=watch,
            is_duplicate=True,
        )

    async def _rows(self, batch_id: str) -> Sequence[Row]:
        return await self._committer.read(
            lambda store: store.find_rows(batch_id, first_index=0, limit=_ALL_ROWS)
        )

    async def _accept_new(
        self, asked: request.BatchRequest, watching: contextlib.ExitStack, *, is_watched: bool
    ) -> Accepted:
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
            if asked.validate_only:
                rows = await self._resolver.preview(prepared)
                return _accepted(prepared.batch.batch_id, rows, None)
            # Before it is accepted: a call that is lost meanwhile does not take that back.
            batch_id, watch = prepared.batch.batch_id, None
            watching.enter_context(
                self._disconnects.calling(batch_id, cancels=asked.cancel_on_disconnect)
            )
            if is_watched:
                watch = watching.enter_context(
                    self._watchers.watch_batch(batch_id, _job_ids(prepared.batch))
                )
            # To its end: what waits is to go on, also when nobody is left to be told.
            return await staying.until_done(
                self._accept_prepared(prepared, watch, asked.max_failures)
            )

    async def _accept_prepared(
        self, prepared: resolver.Prepared, watch: watchers.BatchWatch | None, max_failures: int
    ) -> Accepted:
        """Accept a batch, and begin with what follows from it."""
        batch_id = prepared.batch.batch_id
        rows = await self._resolver.accept(prepared)
        if any(row.outcome is Outcome.PENDING for row in rows):
            # What had ended before lets them go on at once.
            await self._releasing.begin(batch_id)
            rows = await self._rows(batch_id)
        accepted = _accepted(batch_id, rows, watch)
        crashing.point("batch.accepted")
        counts = accepted.progress.statistics()
        tell(batch_id, counts)
        if 0 < max_failures <= counts.failed_jobs:
            self._failure_limits.note_batch(batch_id)
        return accepted


def _accepted(batch_id: str, rows: Sequence[Row], watch: watchers.BatchWatch | None) -> Accepted:
    return Accepted(
        batch_id=batch_id,
        rows=rows,
        progress=progress.BatchProgress.of_rows(rows),
        watch=watch,
    )


def _batch_of(accepted: AcceptedRequest, name: RequestName | None) -> str:
    if accepted.name != name:
        raise errors.RequestReusedError(accepted.name.request_id)
    return accepted.batch_id


def tell(batch_id: str, counts: Statistics) -> None:
    """Have the log tell of a batch that was accepted, to its last row."""
    _log.info(
        "batch.accepted",
        batch_id=batch_id,
        rows=counts.total_jobs,
        submitted=counts.successful_submissions,
        rejected=counts.failed_submissions,
    )


def _job_ids(batch: NewBatch) -> set[str]:
    return {row.candidate.spec.job_id for row in batch.rows if row.candidate is not None}
