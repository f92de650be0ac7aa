"""Time for tests of waiting: a watch that moves a clock's hands instead of letting time pass,
and batches whose rows are told by names."""

import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence

from dshpc_server.batches import request, resolver, watchers
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store import port, records
from dshpc_server.store.records import Attempt
from support import batches_values as values
from support import methods_site, store_values

Script = Sequence[tuple[float, Sequence[Attempt]]]


class ScriptedWatch(watchers.Watch):
    """A watch whose changes come at given seconds; waiting for them costs no time."""

    def __init__(self, clock: methods_site.HandClock, script: Script) -> None:
        super().__init__()
        self._clock = clock
        self._script = list(script)

    async def wait(self, timeout_seconds: float | None) -> bool:
        if await super().wait(0.0):
            return True
        now = self._clock.monotonic()
        if self._script and (
            timeout_seconds is None or self._script[0][0] <= now + timeout_seconds
        ):
            at, changes = self._script.pop(0)
            self._clock.advance(max(0.0, at - now))
            for change in changes:
                self.put(change)
            return True
        assert timeout_seconds is not None, "waits for ever"
        self._clock.advance(timeout_seconds)
        return False


class ScriptedWatchers(watchers.Watchers):
    """Gives every watcher the same script."""

    def __init__(self, clock: methods_site.HandClock, script: Script = ()) -> None:
        super().__init__()
        self._clock = clock
        self._script = script
        self.open_watches = 0
        self.asked: list[set[str]] = []
        """The jobs of each watch there was."""

    @contextlib.contextmanager
    def watch(self, job_ids: Collection[str]) -> Iterator[watchers.Watch]:
        self.asked.append(set(job_ids))
        self.open_watches += 1
        try:
            yield ScriptedWatch(self._clock, self._script)
        finally:
            self.open_watches -= 1


def change(name: str, status: JobStatus = JobStatus.COMPLETED) -> Attempt:
    order = [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.COMPLETED]
    return values.attempt(name, status, revision=order.index(status) + 1)


class Accepting:
    """A resolver whose batch has one row for each name; what is "done" is found completed."""

    def __init__(self, *names: str, publish: watchers.Watchers | None = None) -> None:
        self._names = names
        self._publish = publish
        self.going: list[str] = []
        """Content that goes while the next batches are prepared, one after the other."""

    @contextlib.asynccontextmanager
    async def prepared(self, asked: request.BatchRequest) -> AsyncIterator[resolver.Prepared]:
        batch = store_values.batch("" if asked.validate_only else "b", *self._names)
        yield resolver.Prepared(batch=batch, on_disk=[])

    async def preview(self, prepared: resolver.Prepared) -> Sequence[records.Row]:
        assert not prepared.batch.batch_id
        return [self._row(index, name) for index, name in enumerate(self._names)]

    async def accept(self, prepared: resolver.Prepared) -> Sequence[records.Row]:
        if self.going:
            raise port.ContentGoingError(self.going.pop())
        rows = [self._row(index, name) for index, name in enumerate(self._names)]
        if self._publish is not None:
            # Another caller's commit comes between this batch's and its first wait.
            self._publish.publish([change(name) for name in self._names])
        assert len(prepared.batch.rows) == len(rows)
        return rows

    def _row(self, index: int, name: str) -> records.Row:
        if name == "done":
            found = change(name, JobStatus.COMPLETED)
            return values.row(Outcome.FOUND_COMPLETED, found, index=index)
        if name == "refused":
            return values.row(Outcome.REJECTED, index=index, rejection=b"no")
        return values.row(Outcome.SUBMITTED, change(name, JobStatus.PENDING), index=index)
