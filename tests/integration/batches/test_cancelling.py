"""Cancelling, wherever the job is: queued, on its way to the engine, running, over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from dshpc_server import clock, errors
from dshpc_server.batches import cancelling
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.engine import port as engine
from dshpc_server.store import records
from dshpc_server.transport import job_messages
from support import store_values
from support.batches_assembly import DEADLINE_SECONDS, Assembly, job

Start = Callable[..., Assembly]
MESSAGES = job_messages.JobMessages(engine_name="scripted", max_retries=3)


def cancelling_of(parts: Assembly) -> cancelling.Cancelling:
    return cancelling.Cancelling(
        committer=parts.committer,
        watchers=parts.watchers,
        encoder=parts.encoder,
        stop=parts.dispatcher.cancel,
        clock=clock.SystemClock(),
    )


@contextlib.asynccontextmanager
async def serving(parts: Assembly) -> AsyncIterator[cancelling.Cancelling]:
    async with parts.serving(), cancelling_of(parts) as made:
        yield made


async def accepted(parts: Assembly, n: int = 0) -> AttemptKey:
    (row,) = await parts.accept(job(n=n))
    assert row.attempt is not None
    return row.attempt.key


async def launched(parts: Assembly, n: int = 0) -> AttemptKey:
    key = await accepted(parts, n)
    await parts.engine.launched(key)
    return key


async def cancel(
    made: cancelling.Cancelling, key: AttemptKey, reason: str = "enough", wait_seconds: float = 0
) -> records.JobRecord:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await made.cancel(key.job_id, reason, wait_seconds=wait_seconds)


async def stop_when_asked(parts: Assembly, key: AttemptKey) -> None:
    """Be an engine that stops what it is asked to stop."""
    await parts.engine.cancel_asked(key)
    await parts.engine.exited(key, signal=9, cause=engine.Cause.CANCELLED)


async def test_a_queued_job_leaves_the_queue_at_once_and_is_never_launched(start: Start) -> None:
    parts = start(cpus=1)
    async with serving(parts) as made:
        running = await launched(parts, 1)
        queued, last = await accepted(parts, 2), await accepted(parts, 3)
        record = await cancel(made, queued)
        told = MESSAGES.whole(record)
        assert record.newest.attempt.status is JobStatus.CANCELLED
        assert told.reason == "Cancelled: enough"
        assert told.error.message == "Cancelled: enough"
        assert told.HasField("end_time")
        await parts.engine.exited(running)
        await parts.engine.launched(last)
    assert list(parts.engine.launches) == [running, last]
    assert parts.engine.cancelled == []


async def test_a_running_job_is_stopped_and_the_answer_waits_for_its_end(start: Start) -> None:
    parts = start()
    async with serving(parts) as made:
        key = await launched(parts)
        await parts.engine.started(key)
        stopping = asyncio.create_task(stop_when_asked(parts, key))
        record = await cancel(made, key, wait_seconds=DEADLINE_SECONDS)
        await stopping
        assert record.newest.attempt.status is JobStatus.CANCELLED
        assert MESSAGES.whole(record).reason == "Cancelled: enough"
        assert parts.watchers.watched_jobs == 0
        assert parts.active.cancel_reason(key) is None


async def test_what_takes_its_time_to_stop_is_answered_as_stopping(start: Start) -> None:
    parts = start()
    async with serving(parts) as made:
        key = await launched(parts)
        await parts.engine.started(key)
        await parts.until_status(key, JobStatus.RUNNING)
        record = await cancel(made, key)
        assert record.newest.attempt.status is JobStatus.RUNNING
        assert MESSAGES.whole(record).reason == "Stopping: enough"
        assert parts.engine.cancelled == [key]


async def test_the_first_reason_counts_however_often_and_at_once_it_is_asked(start: Start) -> None:
    parts = start()
    async with serving(parts) as made:
        key = await launched(parts)
        await cancel(made, key, "first")
        told = await asyncio.gather(*(cancel(made, key, f"later {n}") for n in range(5)))
        assert {MESSAGES.whole(record).reason for record in told} == {"Stopping: first"}
        await parts.engine.exited(key, signal=9, cause=engine.Cause.CANCELLED)
        await parts.until_status(key, JobStatus.CANCELLED)
        assert parts.reason(key) == "Cancelled: first"
        again = await cancel(made, key, "even later")
        assert MESSAGES.whole(again).reason == "Cancelled: first"
    assert parts.statuses(key).count(JobStatus.CANCELLED) == 1


async def test_an_exit_that_came_before_the_stop_keeps_its_own_status(start: Start) -> None:
    parts = start()
    async with serving(parts) as made:
        for n, (code, status) in enumerate([(0, JobStatus.COMPLETED), (3, JobStatus.FAILED)]):
            key = await launched(parts, n)
            await cancel(made, key)
            await parts.engine.exited(key, code, stdout=b"done")
            await parts.until_status(key, status)


async def test_a_job_that_has_ended_is_answered_as_it_is(start: Start) -> None:
    parts = start()
    async with serving(parts) as made:
        key = await launched(parts)
        await parts.engine.exited(key, stdout=b"done")
        await parts.until_status(key, JobStatus.COMPLETED)
        record = await cancel(made, key, wait_seconds=DEADLINE_SECONDS)
        assert MESSAGES.whole(record).output == "done"
        assert parts.engine.cancelled == []


async def test_an_unknown_job_is_not_found(start: Start) -> None:
    parts = start()
    async with serving(parts) as made:
        with pytest.raises(errors.NotFoundError, match="job"):
            await cancel(made, AttemptKey(job_id="a" * 64, number=1))
        assert parts.watchers.watched_jobs == 0


async def test_a_cancelled_job_that_is_asked_for_again_runs_anew(start: Start) -> None:
    parts = start()
    async with serving(parts) as made:
        key = await launched(parts)
        await cancel(made, key)
        await parts.engine.exited(key, signal=9, cause=engine.Cause.CANCELLED)
        await parts.until_status(key, JobStatus.CANCELLED)
        (row,) = await parts.accept(job(n=0))
        assert (row.outcome, row.old_status) == (Outcome.RESUBMITTED, JobStatus.CANCELLED)
        assert row.attempt is not None
        again = row.attempt.key
        assert again.number == 2
        await parts.engine.launched(again)
        await parts.engine.exited(again, stdout=b"done")
        await parts.until_status(again, JobStatus.COMPLETED)


async def test_what_is_claimed_and_not_handed_over_is_not_handed_over(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dispatcher is held in the middle of putting the launch together."""
    parts = start()
    reached, released = asyncio.Event(), asyncio.Event()
    launch = parts.launcher.launch

    async def held(claim: records.Claim) -> engine.Launch:
        made = await launch(claim)
        reached.set()
        await released.wait()
        return made

    monkeypatch.setattr(parts.launcher, "launch", held)
    async with serving(parts) as made:
        key = await accepted(parts)
        await reached.wait()
        await cancel(made, key)
        released.set()
        await parts.until_status(key, JobStatus.CANCELLED)
        assert parts.reason(key) == "Cancelled: enough"
        following = await launched(parts, 1)
    assert list(parts.engine.launches) == [following]
    assert parts.statuses(key)[-2:] == [JobStatus.CONFIGURING, JobStatus.CANCELLED]


async def test_what_waits_behind_a_disk_that_is_full_is_cancelled_all_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    is_full = True
    launch = parts.launcher.launch

    async def without_room(claim: records.Claim) -> engine.Launch:
        if is_full:
            raise errors.UnavailableError("no room", retry_after_seconds=0.01)
        return await launch(claim)

    monkeypatch.setattr(parts.launcher, "launch", without_room)
    async with serving(parts) as made:
        rows = await parts.accept(job(0, n=1), job(1, n=2))
        first, second = (row.attempt.key for row in rows if row.attempt is not None)
        await parts.until_status(second, JobStatus.CONFIGURING)
        await cancel(made, second)
        await parts.until_status(second, JobStatus.CANCELLED)
        is_full = False
        await parts.engine.launched(first)
    assert list(parts.engine.launches) == [first]


async def test_what_is_cancelled_while_it_is_handed_over_is_stopped_right_after(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine does not know the attempt yet when it is first told to stop it."""
    parts = start()
    reached, released = asyncio.Event(), asyncio.Event()
    submit_many = parts.engine.submit_many

    async def slowly(launches: list[engine.Launch]) -> None:
        reached.set()
        await released.wait()
        await submit_many(launches)

    monkeypatch.setattr(parts.engine, "submit_many", slowly)
    async with serving(parts) as made:
        key = await accepted(parts)
        await reached.wait()
        await cancel(made, key)
        assert parts.engine.cancelled == []
        released.set()
        await parts.engine.cancel_asked(key)
        await parts.engine.exited(key, signal=9, cause=engine.Cause.CANCELLED)
        await parts.until_status(key, JobStatus.CANCELLED)


async def test_a_caller_that_goes_away_in_the_middle_has_cancelled_the_job(
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
    async with serving(parts) as made:
        key = await launched(parts)
        caller = asyncio.create_task(cancel(made, key))
        await reached.wait()
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        released.set()
        await parts.engine.cancel_asked(key)
        assert parts.watchers.watched_jobs == 0


async def test_a_stop_of_the_server_does_not_wait_for_an_engine_that_hangs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    reached = asyncio.Event()

    async def hang(keys: list[AttemptKey]) -> None:
        if keys:
            reached.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(parts.engine, "cancel_many", hang)
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with serving(parts) as made:
            key = await launched(parts)
            caller = asyncio.create_task(made.cancel(key.job_id, "enough", wait_seconds=0))
            await reached.wait()
        await asyncio.wait([caller])
    assert caller.cancelled()


async def test_a_store_that_is_away_is_told_to_the_caller_and_stops_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    check, is_checked = parts.dispatcher.check, asyncio.Event()

    async def checked() -> None:
        await check()
        is_checked.set()

    monkeypatch.setattr(parts.dispatcher, "check", checked)
    async with serving(parts) as made:
        key = await launched(parts)
        await parts.engine.started(key)
        await parts.until_status(key, JobStatus.RUNNING)
        is_checked.clear()
        parts.wavering.refuse(1)
        with pytest.raises(errors.UnavailableError):
            await cancel(made, key)
        # What was in doubt is read again; a wish that it found would be passed on by it, too.
        async with asyncio.timeout(DEADLINE_SECONDS):
            await is_checked.wait()
        assert parts.engine.cancelled == []
        await cancel(made, key)
        assert parts.engine.cancelled == [key]


@pytest.mark.parametrize("was_handed_over", [True, False])
async def test_a_restart_asks_for_the_stop_again(start: Start, *, was_handed_over: bool) -> None:
    before = start()
    async with before.storing():
        await before.accept(job(n=1))
        claims = await before.committer.write(lambda writer: writer.claim(store_values.take, 1))
        (claim,) = claims.taken
        if was_handed_over:
            before.launcher.folder(claim.key).mkdir(parents=True)
        async with cancelling_of(before) as made:
            await cancel(made, claim.key, "before the restart")
    parts = start()
    async with serving(parts):
        await parts.engine.cancel_asked(claim.key)
        assert not parts.engine.launches
        # An engine that never had it says so.
        await parts.engine.lost(claim.key, "it was never started")
        await parts.until_status(claim.key, JobStatus.CANCELLED)
        assert parts.reason(claim.key) == "Cancelled: before the restart"


async def test_every_way_of_racing_ends_in_one_end_and_nothing_runs_on(start: Start) -> None:
    """Jobs are cancelled at any moment of their way while others go through."""
    parts = start(cpus=3)
    count = 60
    async with serving(parts) as made, asyncio.TaskGroup() as tasks:
        rows = await parts.accept(*(job(n, n=n) for n in range(count)))
        keys = [row.attempt.key for row in rows if row.attempt is not None]

        async def cancel_later(n: int, key: AttemptKey) -> None:
            for _ in range(7 * n % 50):
                await asyncio.sleep(0)
            await cancel(made, key)

        async def be_the_engine() -> None:
            while not all_ended(parts, keys):
                for key in list(parts.engine.running):
                    cause = engine.Cause.NONE
                    if key in parts.engine.cancelled:
                        cause = engine.Cause.CANCELLED
                    await parts.engine.exited(key, 0, cause=cause)
                await asyncio.sleep(0.001)

        for n, key in enumerate(keys):
            if n % 3:
                tasks.create_task(cancel_later(n, key))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await be_the_engine()
    for n, key in enumerate(keys):
        ends = [each for each in parts.statuses(key) if each in ENDS]
        assert len(ends) == 1
        assert n % 3 or ends == [JobStatus.COMPLETED]
    assert not parts.engine.running


ENDS = (JobStatus.COMPLETED, JobStatus.CANCELLED)


def all_ended(parts: Assembly, keys: list[AttemptKey]) -> bool:
    attempts = parts.store.find_attempts([key.job_id for key in keys])
    return all(attempt.status in ENDS for attempt in attempts.values())
