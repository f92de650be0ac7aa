"""Withdrawing a batch, wherever its jobs are: queued, on their way to the engine, running, over."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from dshpc_server import errors
from dshpc_server.batches import withdrawing
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.engine import port as engine
from dshpc_server.store import records
from support import store_values
from support.batches_assembly import DEADLINE_SECONDS, Assembly, job

Start = Callable[..., Assembly]


async def accepted(parts: Assembly, *numbers: int) -> tuple[str, list[AttemptKey]]:
    """A batch of these jobs."""
    before = {batch.batch_id for batch in parts.store.find_batches(after=None, limit=99)}
    rows = await parts.accept(*(job(index, n=n) for index, n in enumerate(numbers)))
    (batch_id,) = {
        batch.batch_id for batch in parts.store.find_batches(after=None, limit=99)
    } - before
    return batch_id, [row.attempt.key for row in rows if row.attempt is not None]


async def withdraw(
    parts: Assembly, batch_id: str, *indexes: int, reason: str = "enough"
) -> tuple[int, int, int]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        done = await parts.withdrawing.withdraw(batch_id, reason, withdrawing.Cause.ASKED, indexes)
    return done.cancel_requested, done.detached, done.already_terminal


def rows(parts: Assembly, batch_id: str) -> Sequence[records.Row]:
    return parts.store.find_rows(batch_id, first_index=0, limit=99)


async def until_statuses(parts: Assembly, batch_id: str, *wanted: JobStatus) -> None:
    await parts.until(lambda _: [row.status for row in rows(parts, batch_id)] == list(wanted))


async def stopped(parts: Assembly, key: AttemptKey) -> None:
    """Be an engine that stops what it is asked to stop."""
    await parts.engine.cancel_asked(key)
    await parts.engine.exited(key, signal=9, cause=engine.Cause.CANCELLED)


async def test_what_waits_leaves_the_queue_and_what_runs_is_stopped(start: Start) -> None:
    parts = start(cpus=1)
    async with parts.serving():
        batch_id, (running, queued) = await accepted(parts, 1, 2)
        _, (after,) = await accepted(parts, 3)
        await parts.engine.launched(running)
        assert await withdraw(parts, batch_id) == (2, 0, 0)
        assert parts.reason(queued) == "Cancelled: enough"
        await stopped(parts, running)
        await until_statuses(parts, batch_id, JobStatus.CANCELLED, JobStatus.CANCELLED)
        assert parts.reason(running) == "Cancelled: enough"
        await parts.engine.launched(after)
    assert list(parts.engine.launches) == [running, after]
    assert parts.engine.cancelled == [running]


async def test_what_others_wait_for_is_not_told_to_the_engine(start: Start) -> None:
    parts = start()
    async with parts.serving():
        mine, (shared, own) = await accepted(parts, 1, 2)
        theirs, _ = await accepted(parts, 1)
        await parts.engine.launched(shared)
        await parts.engine.launched(own)
        assert await withdraw(parts, mine) == (1, 1, 0)
        await stopped(parts, own)
        await parts.engine.exited(shared, stdout=b"done")
        await until_statuses(parts, theirs, JobStatus.COMPLETED)
        await until_statuses(parts, mine, JobStatus.CANCELLED, JobStatus.CANCELLED)
    assert parts.engine.cancelled == [own]


async def test_many_who_ask_at_once_stop_it_once_with_the_first_reason(start: Start) -> None:
    parts = start()
    async with parts.serving():
        batch_id, (key,) = await accepted(parts, 1)
        await parts.engine.launched(key)
        told = await asyncio.gather(
            *(withdraw(parts, batch_id, reason=f"reason {n}") for n in range(5))
        )
        assert sorted(told) == [(0, 0, 1)] * 4 + [(1, 0, 0)]
        await stopped(parts, key)
        await until_statuses(parts, batch_id, JobStatus.CANCELLED)
        batch = parts.store.find_batch(batch_id)
        assert batch is not None
        assert parts.reason(key) == f"Cancelled: {batch.cancel_reason}"
    assert parts.engine.cancelled == [key]


async def test_what_cannot_be_withdrawn_is_refused_and_nothing_is_stopped(start: Start) -> None:
    parts = start()
    async with parts.serving():
        batch_id, (key,) = await accepted(parts, 1)
        await parts.engine.launched(key)
        for unknown in ((), (0,)):
            with pytest.raises(errors.NotFoundError, match="batch 'nobody' not found"):
                await withdraw(parts, "nobody", *unknown)
        with pytest.raises(
            errors.InvalidRequestError, match=r"indexes\[1\]: the batch has no row 1"
        ):
            await withdraw(parts, batch_id, 0, 1)
        assert parts.engine.cancelled == []


async def test_a_caller_that_goes_away_in_the_middle_has_withdrawn_the_batch(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    reached, released = asyncio.Event(), asyncio.Event()
    cancel_many = parts.engine.cancel_many

    async def slowly(keys: list[AttemptKey]) -> None:
        if keys:
            reached.set()
            await released.wait()
        await cancel_many(keys)

    monkeypatch.setattr(parts.engine, "cancel_many", slowly)
    async with parts.serving():
        batch_id, (key,) = await accepted(parts, 1)
        await parts.engine.launched(key)
        caller = asyncio.create_task(withdraw(parts, batch_id))
        await reached.wait()
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        released.set()
        await parts.engine.cancel_asked(key)


async def test_a_store_that_is_away_is_told_to_the_caller_and_stops_nothing(start: Start) -> None:
    parts = start()
    async with parts.serving():
        batch_id, (key,) = await accepted(parts, 1)
        await parts.engine.launched(key)
        await parts.engine.started(key)
        await parts.until_status(key, JobStatus.RUNNING)
        parts.wavering.refuse(1)
        with pytest.raises(errors.UnavailableError):
            await withdraw(parts, batch_id)
        assert parts.engine.cancelled == []
        assert await withdraw(parts, batch_id) == (1, 0, 0)
        assert parts.engine.cancelled == [key]


async def test_a_restart_asks_for_the_stop_again(start: Start) -> None:
    before = start()
    async with before.storing():
        batch_id, (key,) = await accepted(before, 1)
        await before.committer.write(lambda writer: writer.claim(store_values.take, 1))
        before.launcher.folder(key).mkdir(parents=True)
        async with before.withdrawing:
            assert await withdraw(before, batch_id, reason="before the restart") == (1, 0, 0)
    parts = start()
    async with parts.serving():
        await parts.engine.cancel_asked(key)
        await parts.engine.lost(key, "it was never started")
        await until_statuses(parts, batch_id, JobStatus.CANCELLED)
        assert parts.reason(key) == "Cancelled: before the restart"
