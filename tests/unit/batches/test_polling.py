"""Long polls of one job: what ends the wait, and that the answer is the job as it is then."""

import asyncio

import pytest

from dshpc_server import errors
from dshpc_server.batches import polling, watchers
from dshpc_server.domain.job import JobStatus
from support import batches_time, job_records, methods_site, store_values
from support.batches_values import attempt

JOB_ID = store_values.sha("job")
LONG = 1000.0


class Poll:
    """A poll over scripted jobs; its time passes only when nothing is to come any more."""

    def __init__(self, script: batches_time.Script = ()) -> None:
        self.hands = methods_site.HandClock()
        self.records = job_records.Records(job_records.record())
        self.watchers = batches_time.ScriptedWatchers(self.hands, script)
        self.polling = polling.Polling(
            committer=self.records.as_committer(), watchers=self.watchers, clock=self.hands
        )

    async def job(self, seconds: float, known: JobStatus | None = None) -> JobStatus:
        wait = polling.Wait(seconds=seconds, known_status=known)
        record = await self.polling.job(JOB_ID, wait)
        assert self.watchers.open_watches == 0
        return record.newest.attempt.status


async def test_without_a_wait_a_job_is_read_once_and_not_watched() -> None:
    poll = Poll()
    assert await poll.job(0) is JobStatus.PENDING
    assert poll.records.reads == 1
    assert poll.watchers.asked == []


@pytest.mark.parametrize("seconds", [0, 5])
async def test_an_unknown_job_is_not_waited_for(seconds: float) -> None:
    poll = Poll()
    with pytest.raises(errors.NotFoundError, match=f"job '{'a' * 64}'"):
        await poll.polling.job("a" * 64, polling.Wait(seconds=seconds))
    assert poll.hands.monotonic() == 0
    assert poll.watchers.open_watches == 0


async def test_a_wait_ends_at_its_time_with_the_job_as_it_is_then() -> None:
    running = [attempt(status=JobStatus.RUNNING, revision=3)]
    poll = Poll([(3, running)])
    poll.records.before_read = lambda: poll.records.put(
        job_records.record(status=JobStatus.RUNNING, revision=3)
    )
    assert await poll.job(7.5) is JobStatus.RUNNING
    assert poll.hands.monotonic() == 7.5


async def test_what_is_there_already_is_not_waited_for() -> None:
    poll = Poll()
    assert await poll.job(LONG, JobStatus.RUNNING) is JobStatus.PENDING
    poll.records.put(job_records.record(status=JobStatus.FAILED))
    assert await poll.job(LONG) is JobStatus.FAILED
    assert poll.hands.monotonic() == 0


class Live(Poll):
    """A poll whose changes the test makes."""

    def __init__(self) -> None:
        super().__init__()
        self.live = watchers.Watchers()
        self.polling = polling.Polling(
            committer=self.records.as_committer(), watchers=self.live, clock=self.hands
        )

    def change(self, status: JobStatus, *, revision: int, number: int = 1) -> None:
        record = job_records.record(status=status, revision=revision, number=number)
        self.live.publish([self.records.put(record)])

    async def waiting(self, known: JobStatus | None = None) -> "asyncio.Task[JobStatus]":
        """A poll that has read the job and waits for a change."""
        reads = self.records.reads
        task = asyncio.create_task(self.job(LONG, known))
        async with asyncio.timeout(30):
            while self.records.reads == reads:  # noqa: ASYNC110 - a read tells nobody
                await asyncio.sleep(0)
        assert self.live.watched_jobs == 1
        return task


async def test_with_a_known_status_the_next_one_is_the_answer() -> None:
    poll = Live()
    waiting = await poll.waiting(JobStatus.PENDING)
    poll.change(JobStatus.CONFIGURING, revision=2)
    assert await waiting is JobStatus.CONFIGURING
    assert poll.live.watched_jobs == 0


async def test_without_one_only_the_end_is() -> None:
    poll = Live()
    waiting = await poll.waiting()
    for revision, status in enumerate([JobStatus.CONFIGURING, JobStatus.RUNNING], 2):
        poll.change(status, revision=revision)
        await asyncio.sleep(0)
        assert not waiting.done()
    poll.change(JobStatus.COMPLETED, revision=4)
    assert await waiting is JobStatus.COMPLETED


async def test_a_status_that_was_left_and_came_again_is_a_change() -> None:
    poll = Live()
    waiting = await poll.waiting(JobStatus.PENDING)
    poll.change(JobStatus.CANCELLED, revision=2)
    poll.change(JobStatus.PENDING, revision=3, number=2)
    assert await waiting is JobStatus.PENDING


async def test_who_waits_for_the_end_waits_on_when_the_job_runs_again_by_then() -> None:
    poll = Live()
    waiting = await poll.waiting()
    poll.change(JobStatus.FAILED, revision=2)
    poll.change(JobStatus.PENDING, revision=3, number=2)
    reads = poll.records.reads
    async with asyncio.timeout(30):
        while poll.records.reads == reads:  # noqa: ASYNC110 - a read tells nobody
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    poll.change(JobStatus.COMPLETED, revision=4, number=2)
    assert await waiting is JobStatus.COMPLETED


async def test_a_failure_that_is_retried_is_neither_an_end_nor_another_status() -> None:
    poll = Live()
    ending, leaving = await poll.waiting(), await poll.waiting(JobStatus.PENDING)
    lost = attempt(status=JobStatus.NODE_FAIL, revision=4, is_retried=True)
    poll.live.publish([lost])
    record = job_records.record(status=JobStatus.PENDING, revision=5, number=2)
    poll.live.publish([poll.records.put(record)])
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ending.done()
    assert not leaving.done()
    poll.change(JobStatus.COMPLETED, revision=8, number=2)
    assert await ending is await leaving is JobStatus.COMPLETED


async def test_a_change_between_the_watch_and_the_first_read_is_not_missed() -> None:
    poll = Live()

    def meanwhile() -> None:
        poll.records.before_read = lambda: None
        poll.change(JobStatus.RUNNING, revision=2)

    poll.records.before_read = meanwhile  # after the question, before its answer is there
    assert await poll.job(LONG, JobStatus.PENDING) is JobStatus.RUNNING


async def test_a_change_that_was_read_already_is_none() -> None:
    poll = Live()
    waiting = await poll.waiting(JobStatus.PENDING)
    poll.live.publish([attempt(status=JobStatus.COMPLETED, revision=1)])
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    poll.change(JobStatus.RUNNING, revision=2)
    assert await waiting is JobStatus.RUNNING


async def test_a_caller_that_goes_away_leaves_no_watch() -> None:
    poll = Live()
    waiting = await poll.waiting()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert poll.live.watched_jobs == 0
