"""The limit of failures: a batch of which too many jobs have failed wants the rest no more.

Counted as `failed_jobs` of its statistics is: rows that ended in one of `job.FAILED`, also those
that found an earlier failure and kept it. Promise: a batch over its limit is withdrawn, by whatever
server sees it first, also when the server that recorded the failures has died since: at the start,
and now and then, all batches that have a limit and have not ended are looked at.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from dshpc_server import clock, errors
from dshpc_server.batches import withdrawing
from dshpc_server.domain import job
from dshpc_server.store import committer, port, records

LOOK_SECONDS = 60.0
"""How often all are looked at: what another server had recorded just before it died."""
RETRY_SECONDS = 1.0
"""Pause after the store was not available."""
LONGEST_PAUSE_SECONDS = 5.0
BATCHES_PER_READING = 20
"""Each reading is a question over all rows of its batches; others are not to wait long for it."""


class Withdraws(Protocol):
    """What has batches withdrawn (`withdrawing.Withdrawing`)."""

    async def withdraw(
        self, batch_id: str, reason: str, cause: withdrawing.Cause
    ) -> records.Withdrawn:
        """Withdraw all rows of a batch."""
        ...


class FailureLimits:
    """Withdraws what is over its limit. One task calls `run`; all else is called beside it."""

    def __init__(
        self, *, committer: committer.Committer, withdrawing: Withdraws, clock: clock.Clock
    ) -> None:
        self._committer = committer
        self._withdrawing = withdrawing
        self._clock = clock
        self._failed: set[str] = set()
        self._batches: set[str] = set()
        self._has_news = asyncio.Event()

    def notice(self, attempts: Sequence[records.Attempt]) -> None:
        """Take note how attempts stand: batches that wait for what has failed are counted."""
        failed = {
            attempt.key.job_id
            for attempt in attempts
            if attempt.status in job.FAILED and not attempt.is_retried
        }
        if failed:
            self._failed |= failed
            self._has_news.set()

    def note_batch(self, batch_id: str) -> None:
        """Have a batch counted of which rows kept failures as they were looked up."""
        self._batches.add(batch_id)
        self._has_news.set()

    async def run(self) -> None:
        """Count what there is news of, until cancelled; first of all everything."""
        look_due_at = self._clock.monotonic()
        while True:
            begun_at = self._clock.monotonic()
            looks_at_all = begun_at >= look_due_at
            try:
                await self._round(looks_at_all=looks_at_all)
            except errors.UnavailableError:  # the store tells the log itself
                await asyncio.sleep(RETRY_SECONDS)
                continue
            now = self._clock.monotonic()
            if looks_at_all:
                look_due_at = now + LOOK_SECONDS
            # Counting takes at most half the time, however often something fails.
            await asyncio.sleep(min(now - begun_at, LONGEST_PAUSE_SECONDS))
            await self._until_news(look_due_at - now)

    async def _until_news(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_news.wait()

    async def _round(self, *, looks_at_all: bool) -> None:
        """Count once; what could not be counted is news again."""
        self._has_news.clear()
        failed, self._failed = self._failed, set()
        batches, self._batches = self._batches, set()
        try:
            limits = await self._limits(None if looks_at_all else failed, batches)
            for some in _pieces(sorted(limits)):
                await self._count({batch_id: limits[batch_id] for batch_id in some})
        except errors.UnavailableError:
            self._failed |= failed
            self._batches |= batches
            self._has_news.set()
            raise

    async def _limits(
        self, job_ids: Collection[str] | None, batch_ids: Collection[str]
    ) -> Mapping[str, int]:
        if job_ids is not None and not job_ids and not batch_ids:
            return {}
        return await self._committer.read(
            lambda store: store.find_failure_limits(job_ids, batch_ids=batch_ids)
        )

    async def _count(self, limits: Mapping[str, int]) -> None:
        tallies = await self._committer.read(lambda store: store.find_tallies(list(limits)))
        for batch_id, tally in tallies.items():
            if tally.is_final:
                # So that it is not looked at again.
                await self._keep(batch_id, tally)
            elif (failed := _failed(tally)) >= limits[batch_id]:
                await self._withdrawing.withdraw(
                    batch_id, f"max_failures: {failed} jobs failed", withdrawing.Cause.MAX_FAILURES
                )

    async def _keep(self, batch_id: str, tally: records.BatchTally) -> None:
        def work(writer: port.Writer) -> None:
            writer.keep_tally(batch_id, tally)

        await self._committer.write(work)


def _failed(tally: records.BatchTally) -> int:
    """How many rows have failed, as the statistics tell it."""
    return sum(count for (_, status), count in tally.rows.items() if status in job.FAILED)


def _pieces(batch_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(batch_ids), BATCHES_PER_READING):
        yield batch_ids[start : start + BATCHES_PER_READING]
