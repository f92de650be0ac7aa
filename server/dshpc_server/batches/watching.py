"""Watching a batch that exists: its events, from the beginning or from where a stream stood.

Promise: together with what that one told up to there, every row that ends is told. Where the store
cannot tell what came after, all rows are told as they stand now; see `batches.untold`.
"""

from collections.abc import AsyncGenerator

from dshpc_server import clock, errors
from dshpc_server.batches import followed, progress, streaming, untold, watchers
from dshpc_server.store import committer


class Watching:
    """Streams of batches that exist."""

    def __init__(
        self, *, committer: committer.Committer, watchers: watchers.Watchers, clock: clock.Clock
    ) -> None:
        self._committer = committer
        self._watchers = watchers
        self._clock = clock

    async def events(
        self,
        batch_id: str,
        after: untold.Position | None,
        reporting: streaming.Reporting,
        packing: streaming.Packing,
    ) -> AsyncGenerator[streaming.BatchEvent, None]:
        """Tell a batch's events after this position; None: all. Raises NotFoundError.

        Close the iterator (`contextlib.aclosing`).
        """
        found = await self._committer.read(lambda store: store.find_batch(batch_id))
        if found is None:
            raise errors.NotFoundError("batch", batch_id)
        with self._watchers.watch_batch(batch_id) as watch:
            batch = followed.FollowedBatch(
                batch_id,
                watch=watch,
                committer=self._committer,
                known=progress.BatchProgress(),
            )
            rows = await _begun(batch, after, reporting)
            yield streaming.Accepted(
                batch_id=batch_id, total_jobs=found.row_count, position=rows.position
            )
            stream = streaming.Stream(
                batch, rows, reporting=reporting, packing=packing, clock=self._clock
            )
            async for event in stream.events(deadline=None):
                yield event
            yield streaming.Closing(statistics=batch.progress.statistics(), position=rows.position)


async def _begun(
    batch: followed.FollowedBatch, after: untold.Position | None, reporting: streaming.Reporting
) -> untold.Untold:
    """Read how the rows stand; those that are to be told at once."""
    told: list[tuple[int, int]] = []
    ended_before, seen_at = 0, 0
    async for states in batch.load():
        for state in states:
            if reporting.tells(state):
                told.append((state.changed_at, state.index))
            if after is not None and state.has_ended and state.changed_at <= after.changed_at:
                ended_before += 1
            seen_at = max(seen_at, state.changed_at)
    begin = after or untold.BEGINNING
    if ended_before != begin.ended_rows:
        begin = untold.BEGINNING
    rows = untold.Untold(begin)
    rows.see(seen_at)
    rows.note_all(
        (changed_at, index)
        for changed_at, index in told
        # What an earlier version stored may have the stamp 0.
        if changed_at > begin.changed_at or begin == untold.BEGINNING
    )
    return rows
