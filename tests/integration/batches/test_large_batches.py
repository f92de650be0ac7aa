"""Large batches as all others: they have names, limits of failures, and callers who go away.

Nothing is dispatched: jobs end when the test says so.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from dshpc_server import errors
from dshpc_server.batches import disconnects, request, showing, simulation, streaming
from dshpc_server.batches.withdrawing import Cause
from dshpc_server.domain import lookup
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import port, records
from support import store_values
from support.batches_assembly import LARGE_ROWS, RESOLVED, Assembly, job

Start = Callable[..., Assembly]
ROWS = LARGE_ROWS + 3
NAME = store_values.request_name()
FINISHED = simulation.Wait(until_finished=True, timeout_seconds=None)
NEVER = lookup.Policy(resubmit=lookup.ResubmitPolicy.NEVER)
QUIET = streaming.Reporting(transitions=False, heartbeat_seconds=15.0, statistics_seconds=None)
PACKING = streaming.Packing(encode=lambda _: b"", rows_per_message=1000, max_bytes=1_000_000)


def asked(
    *,
    name: records.RequestName | None = None,
    max_failures: int = 0,
    cancel_on_disconnect: bool = False,
) -> request.BatchRequest:
    return request.BatchRequest(
        rows=[job(n, n=n, policy=NEVER) for n in range(ROWS)],
        display_name="",
        name=name,
        max_failures=max_failures,
        cancel_on_disconnect=cancel_on_disconnect,
    )


@contextlib.asynccontextmanager
async def accepting(parts: Assembly) -> AsyncIterator[None]:
    """Accept what is sealed, and count failures."""
    async with asyncio.TaskGroup() as tasks:
        owned = [
            tasks.create_task(work)
            for work in (parts.staging.run(), parts.failure_limits.run(), parts.releasing.run())
        ]
        try:
            yield
        finally:
            for task in owned:
                task.cancel()


@contextlib.asynccontextmanager
async def storing(start: Start, **settings: float) -> AsyncIterator[Assembly]:
    """Answer what asks and writes; what is sealed is left as it is."""
    parts = start(**settings)
    async with parts.storing(), parts.withdrawing, parts.disconnects:
        yield parts


def batches(store: port.Reader) -> list[records.BatchRecord]:
    return list(store.find_batches(after=None, limit=9))


async def until_sealed(parts: Assembly) -> str:
    """Wait until the named batch is sealed; its name."""
    await parts.until(lambda store: store.find_request(NAME.request_id) is not None)
    found = parts.store.find_request(NAME.request_id)
    assert found is not None
    return found.batch_id


async def until_reason(parts: Assembly, batch_id: str, reason: str) -> None:
    def is_so(store: port.Reader) -> bool:
        found = store.find_batch(batch_id)
        return found is not None and found.cancel_reason == reason

    await parts.until(is_so)


async def test_a_large_batch_is_accepted_once_under_its_name(start: Start) -> None:
    async with storing(start) as parts, accepting(parts):
        first = await parts.simulation.answer(asked(name=NAME), RESOLVED)
        again = await parts.simulation.answer(asked(name=NAME), RESOLVED)
        assert again.batch_id == first.batch_id
        assert again.statistics.submitted_jobs == ROWS
        events = parts.simulation.events(asked(name=NAME), RESOLVED, QUIET, PACKING)
        async with contextlib.aclosing(events):
            told = await anext(events)
        assert isinstance(told, streaming.Accepted)
        assert (told.batch_id, told.duplicate_request) == (first.batch_id, True)
        otherwise = store_values.request_name(asked="something else")
        with pytest.raises(errors.RequestReusedError):
            await parts.simulation.answer(asked(name=otherwise), RESOLVED)
        assert len(batches(parts.store)) == 1


async def test_of_several_at_once_with_one_name_one_is_accepted(start: Start) -> None:
    async with storing(start) as parts, accepting(parts):
        answers = await asyncio.gather(
            *(parts.simulation.answer(asked(name=NAME), RESOLVED) for _ in range(4))
        )
        assert len({answer.batch_id for answer in answers}) == 1
        assert len(batches(parts.store)) == 1


async def test_who_asks_again_waits_until_the_batch_is_shown(start: Start) -> None:
    async with storing(start) as parts:
        first = asyncio.create_task(parts.simulation.answer(asked(name=NAME), RESOLVED))
        batch_id = await until_sealed(parts)
        first.cancel()
        again = asyncio.create_task(parts.simulation.answer(asked(name=NAME), RESOLVED))
        with pytest.raises(errors.NotFoundError):
            await parts.withdrawing.withdraw(batch_id, "not yet", Cause.ASKED)
        assert not again.done()
        async with accepting(parts):
            answer = await again
        assert answer.batch_id == batch_id
        assert answer.statistics.total_jobs == ROWS


async def test_who_waits_too_long_for_that_is_told_to_ask_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "SHOWN_SECONDS", 0.01)
    async with storing(start) as parts:
        first = asyncio.create_task(parts.simulation.answer(asked(name=NAME), RESOLVED))
        await until_sealed(parts)
        first.cancel()
        with pytest.raises(errors.UnavailableError, match="still being looked up"):
            await parts.simulation.answer(asked(name=NAME), RESOLVED)


async def test_failures_that_a_large_batch_kept_count_once_it_is_shown(start: Start) -> None:
    async with storing(start) as parts:
        (row,) = await parts.accept(job(0, n=0))
        assert row.attempt is not None
        await end(parts, row.attempt.key)
        async with accepting(parts):
            answer = await parts.simulation.answer(asked(max_failures=1), RESOLVED)
            await until_reason(parts, answer.batch_id, "max_failures: 1 jobs failed")
        rows = parts.store.find_rows(answer.batch_id, first_index=0, limit=ROWS)
        ended = [JobStatus.FAILED, *[JobStatus.CANCELLED] * (ROWS - 1)]
        assert [each.status for each in rows] == ended


async def test_a_large_batch_goes_with_its_call(start: Start) -> None:
    async with storing(start, grace_seconds=0.01) as parts, accepting(parts):
        wanted = asked(name=NAME, cancel_on_disconnect=True)
        call = asyncio.create_task(parts.simulation.answer(wanted, FINISHED))
        batch_id = await until_sealed(parts)
        await parts.until(lambda store: store.has_batch(batch_id))
        call.cancel()
        await until_reason(parts, batch_id, disconnects.REASON)


@pytest.mark.parametrize("cancels", [False, True])
async def test_a_batch_whose_call_is_lost_before_it_is_shown_is_accepted_and_then_goes_if_asked(
    start: Start, *, cancels: bool
) -> None:
    async with storing(start, grace_seconds=0.0) as parts:
        wanted = asked(name=NAME, cancel_on_disconnect=cancels)
        call = asyncio.create_task(parts.simulation.answer(wanted, FINISHED))
        batch_id = await until_sealed(parts)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        with structlog.testing.capture_logs() as log:
            async with accepting(parts):
                await parts.until(lambda _: "batch.accepted" in {line["event"] for line in log})
                await parts.until(lambda _: not parts.disconnects._graces)
        (told,) = [line for line in log if line["event"] == "batch.accepted"]
        assert (told["batch_id"], told["rows"], told["submitted"]) == (batch_id, ROWS, ROWS)
        (batch,) = batches(parts.store)
        assert batch.cancel_reason == (disconnects.REASON if cancels else None)


async def test_a_stream_is_told_of_its_batch_when_it_is_durable_and_of_rows_when_it_is_shown(
    start: Start,
) -> None:
    quick = streaming.Reporting(transitions=True, heartbeat_seconds=0.001, statistics_seconds=None)
    async with storing(start) as parts:
        events = parts.simulation.events(asked(), RESOLVED, quick, PACKING)
        async with contextlib.aclosing(events):
            first = await anext(events)
            assert isinstance(first, streaming.Accepted)
            assert (first.total_jobs, first.duplicate_request) == (ROWS, False)
            assert not parts.store.has_batch(first.batch_id)
            assert parts.store.has_staged_rows(first.batch_id)
            assert isinstance(await anext(events), streaming.Bookmark)
            async with accepting(parts):
                rest = [event async for event in events]
    rows = [row for event in rest if isinstance(event, streaming.Results) for row in event.rows]
    assert len(rows) == ROWS
    assert isinstance(rest[-1], streaming.Closing)
    assert rest[-1].statistics.submitted_jobs == ROWS


async def test_a_stream_that_is_closed_before_its_batch_is_shown_leaves_it_to_be_accepted(
    start: Start,
) -> None:
    async with storing(start) as parts:
        events = parts.simulation.events(asked(), RESOLVED, QUIET, PACKING)
        async with contextlib.aclosing(events):
            first = await anext(events)
        assert isinstance(first, streaming.Accepted)
        async with accepting(parts):
            await parts.until(lambda store: store.has_batch(first.batch_id))


async def test_who_asks_about_a_batch_that_is_not_shown_yet_is_answered_when_it_is(
    start: Start,
) -> None:
    async with storing(start) as parts:
        sealed = await parts.staging.accept(asked())
        is_refused = asyncio.Event()

        async def withdraw() -> records.Withdrawn:
            try:
                return await parts.withdrawing.withdraw(sealed.batch_id, "changed", Cause.ASKED)
            except errors.NotFoundError:
                is_refused.set()
                raise

        answer = asyncio.create_task(parts.showing.answer(sealed.batch_id, withdraw))
        await is_refused.wait()
        async with accepting(parts):
            withdrawn = await answer
        assert withdrawn.cancel_requested == ROWS
        with pytest.raises(errors.NotFoundError):
            await parts.showing.answer(
                "unknown", lambda: parts.withdrawing.withdraw("unknown", "", Cause.ASKED)
            )


async def end(parts: Assembly, key: AttemptKey) -> None:
    """Have a run fail."""
    report = records.Report(
        key=key,
        event=Event.EXITED_NONZERO,
        at=store_values.NOON,
        ending=store_values.an_ending(),
        retry_after_seconds=None,
    )
    await parts.committer.write(lambda writer: len(writer.claim(store_values.take, 99).taken))
    await parts.committer.write(lambda writer: len(writer.record([report])))
