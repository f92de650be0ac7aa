"""A stream of events over a store of hand-made rows: what a reader gets, however slow it is."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import pytest

from dshpc_server import errors
from dshpc_server.batches import followed, progress, streaming, untold, watchers
from dshpc_server.batches.streaming import Progress, Results
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store import records
from support import batches_time, methods_site
from support import batches_values as values

BATCH = "b"
DEADLINE_SECONDS = 30.0


class Streaming:
    """A stream of a batch whose rows are told by the sizes of their heads."""

    def __init__(self, *sizes: int, ended: bool = True) -> None:
        self.clock = methods_site.HandClock()
        self.store = batches_time.RowsStore()
        self.watchers = watchers.Watchers()
        status = JobStatus.COMPLETED if ended else JobStatus.PENDING
        rows = [
            values.row(
                Outcome.SUBMITTED,
                values.attempt(index, status),
                index=index,
                head=b"%d:" % index + b"x" * size,
            )
            for index, size in enumerate(sizes)
        ]
        self.store.rows = {row.index: row for row in rows}
        self.known = progress.BatchProgress(row.state for row in rows)
        self.untold = untold.Untold()
        for row in rows if ended else ():
            self.untold.note(row.index, row.state.changed_at)
        job_ids = [row.attempt.key.job_id for row in rows if row.attempt]
        self.watching = contextlib.ExitStack()
        self.watch = self.watching.enter_context(self.watchers.watch_batch(BATCH, job_ids))

    def change(self, index: int, status: JobStatus, revision: int) -> None:
        """Have a row's attempt change, and everybody be told."""
        attempt = dataclasses.replace(
            values.attempt(index, status, revision=revision), changed_at=revision
        )
        self.store.put(attempt)
        self.watchers.publish([attempt])

    async def messages(
        self,
        *,
        rows_per_message: int = 1,
        max_bytes: int = 3_000_000,
        in_thread: bool = False,
    ) -> list[streaming.BatchEvent]:
        events = self.events(
            rows_per_message=rows_per_message, max_bytes=max_bytes, in_thread=in_thread
        )
        return [event async for event in events]

    async def events(
        self,
        *,
        rows_per_message: int = 1,
        max_bytes: int = 3_000_000,
        in_thread: bool = False,
        transitions: bool = False,
        statistics_seconds: float | None = None,
        deadline: float | None = None,
    ) -> Any:  # noqa: ANN401 (an async generator)
        with self.watching:
            batch = followed.FollowedBatch(
                BATCH, watch=self.watch, committer=cast("Any", self.store), known=self.known
            )
            stream = streaming.Stream(
                batch,
                self.untold,
                reporting=streaming.Reporting(
                    transitions=transitions,
                    heartbeat_seconds=15.0,
                    statistics_seconds=statistics_seconds,
                ),
                packing=streaming.Packing(
                    encode=lambda row: row.head,
                    rows_per_message=rows_per_message,
                    max_bytes=max_bytes,
                    in_thread=in_thread,
                ),
                clock=self.clock,
            )
            async with asyncio.timeout(DEADLINE_SECONDS):
                async for event in stream.events(deadline):
                    yield event


def rows_in(events: Sequence[streaming.BatchEvent]) -> list[list[int]]:
    return [
        [int(row.split(b":")[0]) for row in event.rows]
        for event in events
        if isinstance(event, Results)
    ]


@pytest.mark.parametrize("rows_per_message", [1, 3, 1000])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_messages_are_cut_by_number_and_by_bytes(
    rows_per_message: int, *, in_thread: bool
) -> None:
    sizes = [0] * 5 + [1_500_000] * 4 + [5_000_000] + [0] * 5
    events = await Streaming(*sizes).messages(
        rows_per_message=rows_per_message, in_thread=in_thread
    )
    told = rows_in(events)
    assert [index for group in told for index in group] == list(range(len(sizes)))
    assert all(1 <= len(group) <= rows_per_message for group in told)
    assert all(sum(sizes[index] for index in group) <= 3e6 or len(group) == 1 for group in told)
    if rows_per_message == 1000:
        assert len(told) < len(sizes) / 2


async def test_messages_are_full_though_rows_are_read_a_few_at_a_time() -> None:
    streamed = Streaming(*[0] * 1000)
    told = rows_in(await streamed.messages(rows_per_message=300))
    assert [len(group) for group in told] == [300, 300, 300, 100]
    asked = [len(indexes) for indexes in streamed.store.asked]
    assert asked[:4] == [16, 32, 64, 128]
    assert max(asked) == 128
    assert sum(asked) == 1000


async def test_of_long_rows_few_are_read_at_a_time() -> None:
    streamed = Streaming(*[400_000] * 60)
    await streamed.messages()
    asked = [len(indexes) for indexes in streamed.store.asked]
    assert asked[0] == 16
    assert max(asked[4:]) <= 4
    assert sum(asked) == 60


async def test_nothing_is_read_before_the_reader_is_ready() -> None:
    streamed = Streaming(*[0] * 1000)
    events = streamed.events()
    for _ in range(16):
        await anext(events)
        assert [len(indexes) for indexes in streamed.store.asked] == [16]
    await anext(events)
    assert [len(indexes) for indexes in streamed.store.asked] == [16, 32]
    await events.aclose()
    assert streamed.watchers.watched_batches == set()


async def test_a_reader_that_was_busy_gets_only_the_last_of_a_row_and_every_end() -> None:
    streamed = Streaming(0, 0, 0, ended=False)
    events = streamed.events(transitions=True)
    streamed.change(0, JobStatus.RUNNING, 2)
    waiting = anext(events)
    assert rows_in([await waiting]) == [[0]]
    for revision, status in enumerate((JobStatus.RUNNING, JobStatus.COMPLETED), start=3):
        streamed.change(0, status, revision)
        streamed.change(1, status, revision)
    streamed.change(2, JobStatus.RUNNING, 5)
    rest = [rows_in([await anext(events)]) for _ in range(3)]
    assert rest == [[[0]], [[1]], [[2]]]
    assert streamed.known.statistics().completed_jobs == 2
    streamed.change(2, JobStatus.COMPLETED, 6)
    assert rows_in([event async for event in events]) == [[2]]
    assert sum(map(len, streamed.store.asked)) == 5


async def test_what_was_told_as_it_stands_now_is_not_told_again() -> None:
    """The store was ahead of the notice: a row is told once with that."""
    streamed = Streaming(0, 0, ended=False)
    events = streamed.events(transitions=True)
    streamed.change(0, JobStatus.RUNNING, 2)
    streamed.store.put(values.attempt(0, JobStatus.COMPLETED, revision=3))
    assert rows_in([await anext(events)]) == [[0]]
    streamed.change(0, JobStatus.COMPLETED, 3)
    streamed.change(1, JobStatus.COMPLETED, 3)
    assert rows_in([event async for event in events]) == [[1]]


async def test_rows_that_are_gone_do_not_hold_up_the_others() -> None:
    class Lossy(batches_time.RowsStore):
        def find_rows_by_index(self, batch_id: str, indexes: Any) -> list[records.Row]:  # noqa: ANN401 (as there)
            found = super().find_rows_by_index(batch_id, indexes)
            return [row for row in found if row.index != 1]

    streamed = Streaming(0, 0, 0)
    lossy = Lossy()
    lossy.rows = streamed.store.rows
    streamed.store = lossy
    assert rows_in(await streamed.messages(rows_per_message=9)) == [[0, 2]]


async def test_statistics_come_in_the_midst_of_many_rows() -> None:
    streamed = Streaming(*[0] * 40, ended=False)
    events = streamed.events(statistics_seconds=10.0)
    for index in range(40):
        streamed.change(index, JobStatus.COMPLETED, 2)
    told = [await anext(events)]
    streamed.clock.advance(11)
    told += [event async for event in events]
    kinds = [type(event) for event in told]
    assert kinds.count(Progress) == 1
    assert 10 < kinds.index(Progress) < 30
    assert sorted(index for group in rows_in(told) for index in group) == list(range(40))


async def test_behind_the_last_row_nothing_comes_but_the_end() -> None:
    streamed = Streaming(0, ended=False)
    events = streamed.events(statistics_seconds=10.0)
    streamed.change(0, JobStatus.COMPLETED, 2)
    assert rows_in([await anext(events)]) == [[0]]
    streamed.clock.advance(60)
    assert [event async for event in events] == []


async def test_every_event_tells_where_the_stream_stands() -> None:
    streamed = Streaming(0, 0, 0, ended=False)
    events = streamed.events()
    streamed.change(1, JobStatus.COMPLETED, 20)
    streamed.change(0, JobStatus.COMPLETED, 30)
    streamed.change(2, JobStatus.COMPLETED, 30)
    told = [event async for event in events]
    assert rows_in(told) == [[1], [0], [2]]
    positions = [(event.position.changed_at, event.position.ended_rows) for event in told]
    assert positions == [(29, 1), (29, 1), (30, 3)]


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "RETRY_SECONDS", 0.001)


@pytest.mark.usefixtures("short_pauses")
async def test_a_stream_stays_open_while_the_store_is_away() -> None:
    streamed = Streaming(0, 0, 0, ended=False)
    events = streamed.events(transitions=True)
    streamed.change(1, JobStatus.COMPLETED, 2)
    streamed.change(0, JobStatus.COMPLETED, 2)
    streamed.store.failures = 3
    assert rows_in([await anext(events)]) == [[1]]
    assert streamed.store.failures == 0
    streamed.store.failures = 2
    streamed.store.rows[2] = dataclasses.replace(
        streamed.store.rows[2], ended_as=JobStatus.CANCELLED, ending=b"enough"
    )
    streamed.watchers.publish_rows([records.ChangedRows(batch_id=BATCH, indexes=[2])])
    assert rows_in([event async for event in events]) == [[0], [2]]
    assert streamed.store.failures == 0


@pytest.mark.usefixtures("short_pauses")
async def test_what_was_read_before_the_store_went_away_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followed, "ROWS_PER_READING", 2)
    streamed = Streaming(*[0] * 5, ended=False)
    for index, row in streamed.store.rows.items():
        ended = dataclasses.replace(row, ended_as=JobStatus.CANCELLED, ending=b"enough")
        streamed.store.rows[index] = ended
    streamed.watchers.publish_rows([records.ChangedRows(batch_id=BATCH, indexes=())])
    streamed.store.fails_at = 1  # the second of three questions
    told = rows_in([event async for event in streamed.events()])
    assert sorted(index for group in told for index in group) == list(range(5))
    assert streamed.store.fails_at == -1


@pytest.mark.usefixtures("short_pauses")
async def test_a_stream_whose_time_is_over_while_the_store_is_away_says_so() -> None:
    streamed = Streaming(0, 0, ended=False)
    events = streamed.events(deadline=streamed.clock.monotonic() + 5)
    streamed.change(0, JobStatus.COMPLETED, 2)
    assert rows_in([await anext(events)]) == [[0]]
    streamed.change(1, JobStatus.COMPLETED, 2)
    streamed.clock.advance(10)
    streamed.store.failures = 10
    with pytest.raises(errors.UnavailableError):
        await anext(events)
