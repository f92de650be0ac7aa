"""Time for tests of waiting: a watch that moves a clock's hands instead of letting time pass,
and batches whose rows are told by names."""

import collections
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Any

from dshpc_server import clock, errors
from dshpc_server.batches import (
    acceptance,
    disconnects,
    request,
    resolver,
    simulation,
    staging,
    watchers,
)
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store import port, records
from dshpc_server.store.records import Attempt
from support import batches_values as values
from support import methods_site, store_values

Script = Sequence[tuple[float, Sequence[Attempt]]]


class ScriptedWatch(watchers.BatchWatch):
    """A watch whose changes come at given seconds; waiting for them costs no time."""

    def __init__(self, clock: methods_site.HandClock, script: Script, store: "RowsStore") -> None:
        super().__init__(collections.defaultdict(set))
        self._clock = clock
        self._store = store
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
                self._store.put(change)
                self.put(change)
            return True
        assert timeout_seconds is not None, "waits for ever"
        self._clock.advance(timeout_seconds)
        return False


class ScriptedWatchers(watchers.Watchers):
    """Gives every watcher the same script."""

    def __init__(
        self,
        clock: methods_site.HandClock,
        script: Script = (),
        store: "RowsStore | None" = None,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._script = script
        self._store = store or RowsStore()
        self.open_watches = 0
        self.asked: list[set[str]] = []
        """The jobs of each watch there was."""

    @contextlib.contextmanager
    def watch_batch(
        self, batch_id: str, job_ids: Collection[str] = ()
    ) -> Iterator[watchers.BatchWatch]:
        assert batch_id == "b"
        with self._watching(job_ids) as watch:
            yield watch

    @contextlib.contextmanager
    def watch(self, job_ids: Collection[str]) -> Iterator[watchers.Watch]:
        with self._watching(job_ids) as watch:
            yield watch

    @contextlib.contextmanager
    def _watching(self, job_ids: Collection[str]) -> Iterator[ScriptedWatch]:
        self.asked.append(set(job_ids))
        self.open_watches += 1
        try:
            yield ScriptedWatch(self._clock, self._script, self._store)
        finally:
            self.open_watches -= 1


class RowsStore:
    """The rows of the one batch as they stand, for who reads them through a committer."""

    def __init__(self) -> None:
        self.rows: dict[int, records.Row] = {}
        self.asked: list[list[int]] = []
        """Which rows were read, question after question."""
        self.failures = 0
        """How many of the next questions are not answered."""
        self.fails_at = -1
        """One that is not answered, after so many that are."""

    def put(self, change: Attempt) -> None:
        """Have the rows of an attempt show it as it stands now."""
        for index, row in self.rows.items():
            if row.attempt is not None and row.attempt.key == change.key:
                self.rows[index] = dataclasses.replace(row, attempt=change)

    async def read(self, question: Callable[[Any], Any]) -> Any:  # noqa: ANN401 (whatever is asked)
        if self.fails_at >= 0:
            self.fails_at -= 1
            self.failures += self.fails_at < 0
        if self.failures:
            self.failures -= 1
            raise errors.UnavailableError("the store is away", retry_after_seconds=1.0)
        return question(self)

    def find_row_states_by_index(
        self, batch_id: str, indexes: Collection[int]
    ) -> list[records.RowState]:
        return [row.state for row in self.find_rows_by_index(batch_id, indexes)]

    def find_rows_by_index(self, batch_id: str, indexes: Collection[int]) -> list[records.Row]:
        assert batch_id == "b"
        self.asked.append(list(indexes))
        return [self.rows[index] for index in sorted(indexes)]


def change(name: str, status: JobStatus = JobStatus.COMPLETED) -> Attempt:
    order = [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.COMPLETED]
    return values.attempt(name, status, revision=order.index(status) + 1)


class Accepting:
    """A resolver whose batch has one row for each name; what is "done" is found completed."""

    def __init__(
        self, *names: str, store: "RowsStore", publish: watchers.Watchers | None = None
    ) -> None:
        self._names = names
        self._store = store
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
        self._store.rows = {row.index: row for row in rows}
        if self._publish is not None:
            # Another caller's commit comes between this batch's and its first wait.
            changes = [change(name) for name in self._names]
            for each in changes:
                self._store.put(each)
            self._publish.publish(changes)
        assert len(prepared.batch.rows) == len(rows)
        return rows

    def _row(self, index: int, name: str) -> records.Row:
        if name == "done":
            found = change(name, JobStatus.COMPLETED)
            return values.row(Outcome.FOUND_COMPLETED, found, index=index)
        if name == "refused":
            return values.row(Outcome.REJECTED, index=index, rejection=b"no")
        return values.row(Outcome.SUBMITTED, change(name, JobStatus.PENDING), index=index)


def simulation_of(
    accepting: Accepting, store: RowsStore, watchers: watchers.Watchers, clock: clock.Clock
) -> simulation.Simulation:
    """A simulation of batches that this accepts, none of which is large."""
    nobody: Any = None
    resolver: Any = accepting
    committer: Any = store
    return simulation.Simulation(
        acceptance=acceptance.Acceptance(
            resolver=resolver,
            staging=staging.Staging(
                resolver=resolver, library=nobody, committer=nobody, clock=clock
            ),
            releasing=nobody,
            showing=nobody,
            committer=nobody,
            watchers=watchers,
            disconnects=disconnects.Disconnects(
                withdrawing=nobody, showing=nobody, grace_seconds=30.0
            ),
            failure_limits=nobody,
        ),
        committer=committer,
        watchers=watchers,
        clock=clock,
    )
