"""Limits of failures: counted when something fails, at the start, and when the store is back.

Nothing is dispatched: jobs end when the test says so.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from dshpc_server.batches import failure_limits, request
from dshpc_server.domain import lookup
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import port, records
from support import store_values
from support.batches_assembly import RESOLVED, Assembly, after, job

Start = Callable[..., Assembly]
CANCELLED, COMPLETED, FAILED = JobStatus.CANCELLED, JobStatus.COMPLETED, JobStatus.FAILED
PENDING = JobStatus.PENDING
NEVER = lookup.Policy(resubmit=lookup.ResubmitPolicy.NEVER)


@contextlib.asynccontextmanager
async def counting(parts: Assembly) -> AsyncIterator[None]:
    """Answer what asks and writes, and count failures."""
    async with parts.storing(), parts.withdrawing:
        counting = asyncio.create_task(parts.failure_limits.run())
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.wait([counting])
    assert counting.cancelled()


async def accepted(
    parts: Assembly, *numbers: int, max_failures: int, policy: lookup.Policy | None = None
) -> str:
    """A batch of these jobs."""
    rows = [job(index, n=n) for index, n in enumerate(numbers)]
    if policy is not None:
        rows = [dataclasses.replace(row, policy=policy) for row in rows]
    asked = request.BatchRequest(rows=rows, display_name="", max_failures=max_failures)
    return (await parts.simulation.answer(asked, RESOLVED)).batch_id


def statuses(parts: Assembly, batch_id: str) -> list[JobStatus | None]:
    return [row.status for row in rows(parts, batch_id)]


def rows(parts: Assembly, batch_id: str) -> Sequence[records.Row]:
    return parts.store.find_rows(batch_id, first_index=0, limit=99)


async def until(parts: Assembly, batch_id: str, *wanted: JobStatus) -> None:
    await parts.until(lambda _: statuses(parts, batch_id) == list(wanted))


async def end(
    parts: Assembly,
    batch_id: str,
    index: int,
    event: Event = Event.EXITED_NONZERO,
    *,
    retry: float | None = None,
) -> None:
    """Bring the job of a row to its end."""
    attempt = rows(parts, batch_id)[index].attempt
    assert attempt is not None
    report = records.Report(
        key=attempt.key,
        event=event,
        at=store_values.NOON,
        ending=store_values.an_ending(),
        retry_after_seconds=retry,
    )

    def work(writer: port.Writer) -> int:
        return len(writer.record([report]))

    await parts.committer.write(lambda writer: len(writer.claim(store_values.take, 99).taken))
    assert await parts.committer.write(work)


async def launched(parts: Assembly, batch_id: str, index: int) -> AttemptKey:
    """Wait until the job of a row runs; its attempt."""
    attempt = rows(parts, batch_id)[index].attempt
    assert attempt is not None
    await parts.engine.launched(attempt.key)
    return attempt.key


def reason(parts: Assembly, batch_id: str) -> str | None:
    batch = parts.store.find_batch(batch_id)
    assert batch is not None
    return batch.cancel_reason


async def until_reason(parts: Assembly, batch_id: str, wanted: str) -> None:
    await parts.until(lambda _: reason(parts, batch_id) == wanted)


async def test_at_the_limit_the_rest_is_withdrawn_and_not_before(start: Start) -> None:
    parts = start()
    async with counting(parts):
        batch_id = await accepted(parts, 1, 2, 3, max_failures=2)
        one = await accepted(parts, 1, max_failures=1)
        other = await accepted(parts, 1, 2, 4, max_failures=1)
        await end(parts, batch_id, 0)
        # By now the first failure was counted for all of them.
        await until_reason(parts, other, "max_failures: 1 jobs failed")
        assert (reason(parts, batch_id), reason(parts, one)) == (None, None)
        await end(parts, batch_id, 1, Event.OVER_TIME)
        await until_reason(parts, batch_id, "max_failures: 2 jobs failed")
        # The third of each is to be stopped; the second was not while another waited for it.
        assert [each.cancel_reason for each in parts.store.find_active()] == [
            "max_failures: 2 jobs failed",
            "max_failures: 1 jobs failed",
        ]


async def test_what_is_retried_has_not_failed_yet(start: Start) -> None:
    parts = start()
    async with counting(parts):
        batch_id = await accepted(parts, 1, 2, max_failures=1)
        shown = await accepted(parts, 3, 4, max_failures=1)
        await end(parts, batch_id, 0, Event.LOST, retry=0.0)
        await end(parts, shown, 0)
        await until_reason(parts, shown, "max_failures: 1 jobs failed")
        assert reason(parts, batch_id) is None
        await end(parts, batch_id, 0, Event.LOST)
        await until_reason(parts, batch_id, "max_failures: 1 jobs failed")


async def test_failures_that_were_kept_at_the_acceptance_count(start: Start) -> None:
    parts = start()
    async with counting(parts):
        before = await accepted(parts, 1, max_failures=0)
        await end(parts, before, 0)
        batch_id = await accepted(parts, 1, 2, max_failures=1, policy=NEVER)
        await until(parts, batch_id, FAILED, CANCELLED)
        assert reason(parts, batch_id) == "max_failures: 1 jobs failed"
        assert reason(parts, before) is None


async def test_a_failure_that_is_kept_by_a_row_that_waited_counts(start: Start) -> None:
    parts = start()
    async with parts.serving():
        before = await accepted(parts, 2, max_failures=0)
        await parts.engine.exited(await launched(parts, before, 0), 1)
        await until(parts, before, FAILED)
        batch_rows = [
            job(0, n=1),
            job(1, n=2, upstreams=[after(0)], policy=NEVER),
            job(2, n=3),
        ]
        asked = request.BatchRequest(rows=batch_rows, display_name="", max_failures=1)
        batch_id = (await parts.simulation.answer(asked, RESOLVED)).batch_id
        await parts.engine.exited(await launched(parts, batch_id, 0))
        await until_reason(parts, batch_id, "max_failures: 1 jobs failed")


async def test_what_failed_before_a_restart_is_counted_after_it(start: Start) -> None:
    before = start()
    async with before.storing():
        batch_id = await accepted(before, 1, 2, max_failures=1)
        over = await accepted(before, 1, max_failures=1)
        await end(before, batch_id, 0)
        assert reason(before, batch_id) is None
    parts = start()
    async with counting(parts):
        await until_reason(parts, batch_id, "max_failures: 1 jobs failed")
        # What has ended is not looked at again.
        await parts.until(lambda store: store.find_failure_limits(None) == {})
        assert (statuses(parts, over), reason(parts, over)) == ([FAILED], None)


async def test_all_are_looked_at_now_and_then(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another server has recorded, that died before it could count it."""
    monkeypatch.setattr(failure_limits, "LOOK_SECONDS", 0.01)
    parts = start()
    monkeypatch.setattr(parts.failure_limits, "notice", lambda _: None)
    async with counting(parts):
        batch_id = await accepted(parts, 1, 2, max_failures=1)
        await end(parts, batch_id, 0)
        await until_reason(parts, batch_id, "max_failures: 1 jobs failed")


async def test_a_store_that_is_away_is_asked_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_limits, "RETRY_SECONDS", 0.0)
    parts = start()
    notice = parts.failure_limits.notice

    def notice_as_it_goes_away(attempts: Sequence[records.Attempt]) -> None:
        notice(attempts)
        if any(attempt.status is FAILED for attempt in attempts):
            parts.wavering.refuse(2)

    monkeypatch.setattr(parts.failure_limits, "notice", notice_as_it_goes_away)
    async with counting(parts):
        batch_id = await accepted(parts, 1, 2, max_failures=1)
        await end(parts, batch_id, 0)
        await until_reason(parts, batch_id, "max_failures: 1 jobs failed")
        assert parts.wavering.refused == 2
