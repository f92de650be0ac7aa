"""Batches that are watched and read, on the server that changes them and on another one."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection

import pytest

from dshpc_server import clock
from dshpc_server.batches import overview, streaming, untold, watching
from dshpc_server.batches.overview import BatchState, Wait
from dshpc_server.batches.request import BatchRequest, RefusedRow
from dshpc_server.batches.streaming import BatchEvent, Closing, Results
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.rejection import Reason, Rejection
from dshpc_server.engine import port as engine
from support import store_rows, store_values
from support.batches_assembly import DEADLINE_SECONDS, FOREVER, Assembly, job
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

Start = Callable[..., Assembly]
Pair = tuple[Assembly, Assembly]
QUIET = streaming.Reporting(transitions=False, heartbeat_seconds=600.0, statistics_seconds=None)
LOUD = streaming.Reporting(transitions=True, heartbeat_seconds=600.0, statistics_seconds=None)
PACKING = streaming.Packing(
    encode=lambda row: f"{row.index} {row.status}".encode(), rows_per_message=1, max_bytes=1000
)


@pytest.fixture(params=["one server", "two servers"])
async def pair(start: Start, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Who changes a batch, and who is asked about it."""
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "one server":
            one = start()
            await stack.enter_async_context(one.serving())
            yield one, one
            return
        url = request.getfixturevalue("postgres_url")
        changing = start(url=url, lease_seconds=60.0)
        await stack.enter_async_context(changing.serving())
        # It has no place for jobs, so that those of the batch run at the other one.
        asked = start(
            url=url, lease_seconds=60.0, capacity=engine.Capacity(cpus=0, memory_bytes=0, gpus=0)
        )
        await stack.enter_async_context(asked.serving())
        yield changing, asked


async def accepted(parts: Assembly, *numbers: int) -> tuple[str, list[AttemptKey]]:
    """Accept a batch with one job for each number."""
    batch = await parts.prepare([job(index, n=n) for index, n in enumerate(numbers)])
    rows = await parts.committer.write(lambda writer: writer.accept(batch))
    return batch.batch_id, [row.attempt.key for row in rows if row.attempt]


def watched(
    parts: Assembly,
    batch_id: str,
    after: untold.Position | None = None,
    reporting: streaming.Reporting = QUIET,
) -> AsyncGenerator[BatchEvent, None]:
    watching_ = watching.Watching(
        committer=parts.committer, watchers=parts.watchers, clock=clock.SystemClock()
    )
    return watching_.events(batch_id, after, reporting, PACKING)


def overviews(parts: Assembly) -> overview.Overviews:
    return overview.Overviews(
        committer=parts.committer, watchers=parts.watchers, clock=clock.SystemClock()
    )


async def next_row(events: AsyncGenerator[BatchEvent, None]) -> str:
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for event in events:
            if isinstance(event, Results):
                return event.rows[0].decode()
    raise AssertionError("no row came")


async def rest(events: AsyncGenerator[BatchEvent, None]) -> list[BatchEvent]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return [event async for event in events]


def rows_in(events: Collection[BatchEvent]) -> list[str]:
    return [row.decode() for event in events if isinstance(event, Results) for row in event.rows]


async def test_what_ends_is_told_to_who_watches(pair: Pair) -> None:
    changing, asked = pair
    batch_id, keys = await accepted(changing, 1, 2)
    events = watched(asked, batch_id)
    assert isinstance(await anext(events), streaming.Accepted)
    for index, key in reversed(list(enumerate(keys))):
        await changing.engine.launched(key)
        await changing.engine.exited(key)
        assert await next_row(events) == f"{index} COMPLETED"
    (closing,) = await rest(events)
    assert isinstance(closing, Closing)
    assert closing.statistics.completed_jobs == 2
    assert asked.watchers.watched_jobs == 0


async def test_a_row_that_ends_by_itself_is_told(pair: Pair) -> None:
    changing, asked = pair
    batch_id, (key, _) = await accepted(changing, 1, 2)
    events = watched(asked, batch_id)
    await anext(events)
    waiting = asyncio.create_task(next_row(events))
    await changing.committer.write(store_rows.ending(batch_id, 1, JobStatus.CANCELLED))
    assert await waiting == "1 CANCELLED"
    await changing.engine.launched(key)
    await changing.engine.exited(key)
    told = await rest(events)
    assert rows_in(told) == ["0 COMPLETED"]
    assert isinstance(told[-1], Closing)
    assert told[-1].statistics.cancelled_jobs == told[-1].statistics.completed_jobs == 1


async def test_a_row_that_is_decided_later_is_followed_from_then_on(pair: Pair) -> None:
    changing, asked = pair
    _, (key,) = await accepted(changing, 1)
    refused = Rejection(reason=Reason.METHOD_NOT_FOUND, message="no")
    batch = await changing.prepare(
        [RefusedRow(config=lambda: b"", index=0, config_index=0, head=b"", rejection=refused)]
    )
    batch_id = batch.batch_id
    await changing.committer.write(lambda writer: writer.accept(batch))
    await changing.committer.write(store_rows.ending(batch_id, 0, None, outcome=Outcome.PENDING))
    events = watched(asked, batch_id, reporting=LOUD)
    assert await next_row(events) == "0 BLOCKED"
    waiting = asyncio.create_task(next_row(events))
    await changing.engine.launched(key)
    await changing.committer.write(store_rows.deciding(batch_id, 0, key.job_id))
    assert (await waiting).startswith("0 ")
    await changing.engine.exited(key)
    told = await rest(events)
    assert rows_in(told)[-1] == "0 COMPLETED"
    assert isinstance(told[-1], Closing)
    assert (told[-1].statistics.completed_jobs, told[-1].statistics.undecided_jobs) == (1, 0)


async def test_a_stream_goes_on_at_another_server(pair: Pair) -> None:
    changing, asked = pair
    batch_id, keys = await accepted(changing, 1, 2, 3)
    first = watched(changing, batch_id)
    await anext(first)
    for key in keys[:2]:
        await changing.engine.launched(key)
        await changing.engine.exited(key)
        await changing.until_status(key, JobStatus.COMPLETED)  # each with a stamp of its own
    async with asyncio.timeout(DEADLINE_SECONDS):
        told = [await anext(first), await anext(first)]
    await first.aclose()
    again = watched(asked, batch_id, told[0].position)
    assert await next_row(again) == rows_in(told)[1]
    await again.aclose()
    last = watched(asked, batch_id, told[1].position)
    await changing.engine.launched(keys[2])
    await changing.engine.exited(keys[2])
    events = await rest(last)
    assert rows_in(events) == ["2 COMPLETED"]
    assert isinstance(events[-1], Closing)
    assert events[-1].statistics.completed_jobs == 3


async def test_what_the_store_cannot_tell_of_is_told_anew(pair: Pair) -> None:
    changing, asked = pair
    batch_id, (key,) = await accepted(changing, 1)
    await changing.engine.launched(key)
    await changing.engine.exited(key)
    events = await rest(watched(asked, batch_id))
    position = events[-1].position
    for unknown in (
        untold.Position(changed_at=position.changed_at, ended_rows=0),
        untold.Position(changed_at=position.changed_at, ended_rows=2),
    ):
        assert rows_in(await rest(watched(asked, batch_id, unknown))) == ["0 COMPLETED"]
    assert rows_in(await rest(watched(asked, batch_id, position))) == []


async def test_a_wait_for_the_end_or_for_a_change_is_over_then(pair: Pair) -> None:
    changing, asked = pair
    batch_id, (key,) = await accepted(changing, 1)
    await changing.engine.launched(key)
    known = await overviews(asked).one(batch_id, Wait(seconds=0))
    assert known.state is BatchState.RUNNING
    until_end = asyncio.create_task(overviews(asked).one(batch_id, Wait(seconds=DEADLINE_SECONDS)))
    until_change = asyncio.create_task(
        overviews(asked).one(batch_id, Wait(seconds=DEADLINE_SECONDS, known=known.position))
    )
    await changing.engine.started(key)
    assert (await until_change).position != known.position
    await changing.engine.exited(key)
    assert (await until_end).state is BatchState.FINISHED
    assert asked.watchers.watched_jobs == 0
    assert asked.watchers.watched_batches == set()


async def test_how_a_batch_ended_is_kept_by_whoever_sees_it(start: Start) -> None:
    parts = start()
    async with parts.serving():
        for number in range(3):
            _, (key,) = await accepted(parts, number)
            await parts.engine.launched(key)
            if number:
                await parts.engine.exited(key)
                await parts.until_status(key, JobStatus.COMPLETED)
        page = await overviews(parts).page(after=None, limit=9)
        assert [each.tally.is_final for each in page.batches] == [True, True, False]
        again = await overviews(parts).page(after=None, limit=9)
        assert [each.batch.tally for each in again.batches] == [
            page.batches[0].tally,
            page.batches[1].tally,
            None,
        ]
        batch_id = again.batches[0].batch.batch_id
        assert (await overviews(parts).one(batch_id, Wait(seconds=9))).tally == page.batches[
            0
        ].tally


async def test_a_request_that_is_asked_again_is_told_in_the_order_of_the_ends(
    start: Start,
) -> None:
    asked = BatchRequest(
        rows=[job(0, n=0), job(1, n=1)], display_name="", name=store_values.request_name()
    )
    parts = start()

    def told() -> AsyncGenerator[BatchEvent, None]:
        return parts.simulation.events(asked, FOREVER, QUIET, PACKING)

    async with parts.serving():
        first = asyncio.create_task(rest(told()))
        for launch in reversed(await parts.engine.launched_count(2)):
            await parts.engine.exited(launch.key)
            await parts.until_status(launch.key, JobStatus.COMPLETED)
        assert rows_in(await first) == ["1 COMPLETED", "0 COMPLETED"]
        assert rows_in(await rest(told())) == ["1 COMPLETED", "0 COMPLETED"]


async def test_a_row_of_before_there_were_stamps_is_told(start: Start) -> None:
    parts = start()
    async with parts.serving():
        refused = Rejection(reason=Reason.METHOD_NOT_FOUND, message="no")
        batch = await parts.prepare(
            [RefusedRow(config=lambda: b"", index=0, config_index=0, head=b"", rejection=refused)]
        )
        await parts.committer.write(lambda writer: writer.accept(batch))
        await parts.committer.write(store_rows.of_an_earlier_version(batch.batch_id, 0))
        begun, *told = await rest(watched(parts, batch.batch_id))
        assert rows_in(told) == ["0 None"]
        assert rows_in(await rest(watched(parts, batch.batch_id, begun.position))) == ["0 None"]
        assert rows_in(await rest(watched(parts, batch.batch_id, told[-1].position))) == []


async def test_reading_goes_on_where_nothing_can_be_written(start: Start) -> None:
    parts = start()
    async with parts.serving():
        batch_id, (key,) = await accepted(parts, 1)
        await parts.engine.launched(key)
        await parts.engine.exited(key)
        await parts.until_status(key, JobStatus.COMPLETED)
        parts.wavering.refuse(1)
        found = await overviews(parts).one(batch_id, Wait(seconds=0))
        assert parts.wavering.refused == 1
        assert found.state is BatchState.FINISHED
        assert store_values.tally(parts.store, batch_id) == found.tally
