"""Releasing: rows that waited for others go on as soon as they can, or are skipped.

Promises: what a commit ended is told to those who wait for it, right after it; a crash in between
loses nothing, for at the start, after a take-over, and whenever nobody knows what a commit has
done, everything that waits is looked at. Any server may release any row: who comes second finds
that it was done. A row is looked up by its inputs, so what comes after a job that was run again
with the same output is found completed.

Each release is one transaction: looked up, decided and stored as at an acceptance, with the content
that it needs held meanwhile. What is found completed by it lets others go on at once.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence

import structlog

from dshpc_server import clock, crashing, errors
from dshpc_server.batches import content, encoding, failure_limits, resolver
from dshpc_server.domain import job
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import JobStatus
from dshpc_server.store import committer, port, records
from dshpc_server.store.undecided import Ready, Settled, Skip, Upstreams

RETRY_SECONDS = 0.5
"""Pause after the store was not available, or content was going."""
BEGIN_SECONDS = 1.0
"""How long a batch that was just accepted is answered later, at most, for what it finds."""
_WORDS = {
    Condition.SUCCEEDED: "succeed",
    Condition.FAILED: "fail",
    Condition.FINISHED: "finish",
}

_log = structlog.get_logger(__name__)


class Releasing:
    """Has rows go on. One task calls `run`; for the event loop's thread alone."""

    def __init__(
        self,
        *,
        committer: committer.Committer,
        resolver: resolver.Resolver,
        failure_limits: failure_limits.FailureLimits,
        encoder: encoding.ResultEncoder,
        clock: clock.Clock,
    ) -> None:
        self._committer = committer
        self._resolver = resolver
        self._failure_limits = failure_limits
        self._encoder = encoder
        self._clock = clock
        self._has_news = asyncio.Event()
        self._everything = False
        self._job_ids: set[str] = set()
        self._rows: dict[str, set[int]] = {}
        self._batch_ids: set[str] = set()

    def note(self, attempts: Sequence[records.Attempt]) -> None:
        """Take note of what a commit has done: who waits for those that ended is told."""
        ended = {
            each.key.job_id
            for each in attempts
            if each.status in job.TERMINAL and not each.is_retried
        }
        if ended:
            self._job_ids |= ended
            self._has_news.set()

    def note_rows(self, changed: Sequence[records.ChangedRows]) -> None:
        """Take note of rows that a commit has changed: some of them may have ended."""
        for each in changed:
            if each.indexes:
                self._rows.setdefault(each.batch_id, set()).update(each.indexes)
            else:
                self.note_batch(each.batch_id)
        self._has_news.set()

    def note_batch(self, batch_id: str) -> None:
        """Have a batch looked at, whatever its rows wait for, that was handed to the store."""
        self._batch_ids.add(batch_id)
        self._has_news.set()

    def note_everything(self) -> None:
        """Have everything looked at that waits."""
        self._everything = True
        self._has_news.set()

    async def run(self) -> None:
        """Have rows go on, until cancelled; first those that an earlier server left."""
        self.note_everything()
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            try:
                await self._release_all(self._taken())
            except errors.UnavailableError:  # the store tells the log itself
                await self._again()
            except port.ContentGoingError:  # another server's deletion comes to an end
                await self._again()

    async def begin(self, batch_id: str) -> None:
        """Have rows of a batch go on that was just accepted, by what had ended before.

        What cannot be done now, or takes long, is done by `run`; all of it if the call is lost.
        """
        until, is_done = self._clock.monotonic() + BEGIN_SECONDS, False
        try:
            with contextlib.suppress(port.ContentGoingError):
                is_done = await self._release_all(
                    Upstreams(batch_ids=[batch_id]), within=batch_id, until=until
                )
        finally:
            if not is_done:
                self.note_batch(batch_id)

    def _taken(self) -> Upstreams | None:
        """Take what is noted; None stands for everything."""
        everything, self._everything = self._everything, False
        job_ids, self._job_ids = self._job_ids, set()
        rows, self._rows = self._rows, {}
        batch_ids, self._batch_ids = self._batch_ids, set()
        if everything:
            return None
        return Upstreams(job_ids=job_ids, rows=rows, batch_ids=batch_ids)

    async def _again(self) -> None:
        self.note_everything()
        await asyncio.sleep(RETRY_SECONDS)

    async def _release_all(
        self,
        upstreams: Upstreams | None,
        *,
        within: str | None = None,
        until: float | None = None,
    ) -> bool:
        """Tell those who wait for these; release who is ready, and so on with what that ended.

        `within` names the one batch whose rows are released, `until` when it is left to `run`;
        whether there was the time for all.
        """
        # Mostly nobody waits, and a question costs less than a transaction. A batch that is named
        # may not be there yet: the transaction comes behind that which makes it.
        is_named = upstreams is not None and upstreams.batch_ids
        if not is_named and not await self._committer.read(lambda store: store.has_undecided()):
            return True
        while until is None or self._clock.monotonic() < until:
            settled = await self._settled(upstreams, within)
            if settled.has_more:
                continue
            ready = settled.ready
            if not await self._released(ready):
                return True
            # What was found completed has ended, and so has what was rejected.
            upstreams = Upstreams(
                rows={
                    batch_id: [each.index for each in rows] for batch_id, rows in _by_batch(ready)
                }
            )
        return False

    async def _settled(self, upstreams: Upstreams | None, within: str | None) -> Settled:
        settled = await self._committer.write(
            lambda writer: writer.settle(upstreams, self._ending, within=within)
        )
        for batch_id, skipped in settled.skipped.items():
            _log.info("rows.skipped", batch_id=batch_id, rows=len(skipped))
        crashing.point("rows.settled")
        return settled

    async def _released(self, ready: Sequence[Ready]) -> bool:
        """Release rows, or find that others have; whether there were any."""
        is_done = False
        going: port.ContentGoingError | None = None
        for batch_id, rows in _by_batch(ready):
            try:
                await self._release(batch_id, rows)
            except port.ContentGoingError as error:  # others do not wait for this one
                going = error
            else:
                is_done = True
        if going is not None and not is_done:
            raise going
        return is_done

    async def _release(self, batch_id: str, ready: Sequence[Ready]) -> None:
        """Release rows of one batch that nobody has released meanwhile.

        Raises ContentGoingError when another server's deletion takes too long.
        """
        for pause_seconds in content.GOING_PAUSES_SECONDS:
            with contextlib.suppress(port.ContentGoingError):
                return await self._release_now(batch_id, ready)
            await asyncio.sleep(pause_seconds)
        return await self._release_now(batch_id, ready)

    async def _release_now(self, batch_id: str, ready: Sequence[Ready]) -> None:
        async with self._resolver.prepared_again(batch_id, ready) as prepared:
            rows = await self._resolver.release(prepared)
        crashing.point("rows.released")
        if rows:
            _log.info("rows.released", batch_id=batch_id, rows=len(rows))
        if any(row.status in job.FAILED for row in rows):
            self._failure_limits.note_batch(batch_id)

    def _ending(self, skip: Skip) -> bytes:
        """What a row is answered with that is skipped."""
        end = skip.end.status or skip.end.outcome
        reason = f"{skip.upstream_name} did not {_WORDS[skip.condition]}: it is {end}"
        return self._encoder.row_ending(JobStatus.SKIPPED, reason, skip.at, None)


def _by_batch(ready: Sequence[Ready]) -> list[tuple[str, list[Ready]]]:
    """Group rows, which come by batch."""
    return [
        (batch_id, list(rows))
        for batch_id, rows in itertools.groupby(ready, key=lambda each: each.batch_id)
    ]
