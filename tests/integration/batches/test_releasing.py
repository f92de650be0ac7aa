"""Rows that wait for others: released in their order, skipped, and never forgotten."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from dshpc.v1 import types_pb2
from dshpc_server import errors
from dshpc_server.batches import encoding, membership, releasing, request
from dshpc_server.domain import lookup, retry
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.statistics import Statistics
from dshpc_server.store import port, records
from dshpc_server.store.sql import settling
from dshpc_server.store.undecided import Settled, Upstreams
from support import store_values
from support.batches_assembly import (
    DEADLINE_SECONDS,
    INLINE_BYTES,
    RESOLVED,
    Assembly,
    after,
    after_job,
    job,
)
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

Start = Callable[..., Assembly]
USE = lookup.Policy()
REFRESH = lookup.Policy(cache=lookup.CachePolicy.REFRESH)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A batch as it was answered."""

    batch_id: str
    rows: Sequence[records.Row]
    statistics: Statistics


async def asked(parts: Assembly, *rows: request.JobRequest) -> Asked:
    """The answer to a batch of these rows, as soon as all that can be is looked up."""
    upstreams = [each for row in rows for each in row.upstreams if each.job_id]
    batch = request.BatchRequest(
        rows=rows, display_name="", upstream_jobs={each.job_id: each.field for each in upstreams}
    )
    answer = await parts.simulation.answer(batch, RESOLVED)
    batch_rows = answer.rows or rows_of(parts.store, answer.batch_id)
    return Asked(batch_id=answer.batch_id, rows=batch_rows, statistics=answer.statistics)


def rows_of(store: port.Reader, batch_id: str) -> Sequence[records.Row]:
    return store.find_rows(batch_id, first_index=0, limit=1000)


async def until(
    parts: Assembly, batch_id: str, is_so: Callable[[Sequence[records.Row]], bool]
) -> Sequence[records.Row]:
    """Wait until this holds for the rows of a batch; those."""
    await parts.until(lambda store: is_so(rows_of(store, batch_id)))
    return rows_of(parts.store, batch_id)


async def until_submitted(parts: Assembly, batch_id: str, index: int) -> AttemptKey:
    """Wait until a row has a run; that."""
    rows = await until(parts, batch_id, lambda rows: rows[index].attempt is not None)
    attempt = rows[index].attempt
    assert attempt is not None
    return attempt.key


async def run(parts: Assembly, batch_id: str, index: int, output: bytes, code: int = 0) -> None:
    """Wait until a row has a run, and bring that to its end."""
    key = await until_submitted(parts, batch_id, index)
    await parts.engine.launched(key)
    await parts.engine.exited(key, code, stdout=output)


def statuses(rows: Sequence[records.Row]) -> list[JobStatus | None]:
    return [row.status for row in rows]


def told(parts: Assembly, row: records.Row) -> types_pb2.MultiJobResult:
    return types_pb2.MultiJobResult.FromString(encoding.encoded_row(row, parts.encoder))


def taking(index: int, upstream: int, *, n: int) -> request.JobRequest:
    """A row whose input is the output of another one."""
    return job(index, method="count", upstreams=[after(upstream, input_name="input")], n=n)


def chain(length: int, policy: lookup.Policy = USE) -> list[request.JobRequest]:
    """Rows that each take the output of the one before; the first one's policy is given."""
    return [job(0, n=0, policy=policy), *(taking(n, n - 1, n=n) for n in range(1, length))]


async def test_rows_run_in_their_order_each_with_the_output_of_the_one_before(
    start: Start,
) -> None:
    parts = start()
    async with parts.serving():
        answer = await asked(parts, *chain(3))
        assert statuses(answer.rows)[1:] == [JobStatus.BLOCKED, JobStatus.BLOCKED]
        for index in range(3):
            output = b"output %d" % index * (1 if index else INLINE_BYTES)
            await run(parts, answer.batch_id, index, output)
        rows = await until(
            parts, answer.batch_id, lambda rows: statuses(rows) == [JobStatus.COMPLETED] * 3
        )
        second = parts.store.find_job(told(parts, rows[1]).job_id)
        assert second is not None
        first_output = store_values.sha("output 0" * INLINE_BYTES)
        assert second.spec.inputs == {"input": first_output}
        assert told(parts, rows[1]).file_hash == first_output
        assert len(parts.engine.launches) == 3


async def test_what_waits_goes_on_when_its_call_is_lost_right_after_the_acceptance(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    begin = releasing.Releasing.begin
    lost: list[str] = []

    async def begin_without_a_caller(of: releasing.Releasing, batch_id: str) -> None:
        lost.append(batch_id)
        call.cancel()
        await begin(of, batch_id)

    async with parts.serving():
        before = await asked(parts, job(0, n=0))
        await run(parts, before.batch_id, 0, b"output")
        await until(parts, before.batch_id, lambda rows: statuses(rows) == [JobStatus.COMPLETED])
        monkeypatch.setattr(releasing.Releasing, "begin", begin_without_a_caller)
        call = asyncio.create_task(asked(parts, *chain(2)))
        with pytest.raises(asyncio.CancelledError):
            await call
        await until_submitted(parts, lost[0], 1)


async def test_a_chain_that_was_run_before_is_answered_at_once(start: Start) -> None:
    parts = start()
    async with parts.serving():
        answer = await asked(parts, *chain(4))
        for index in range(4):
            await run(parts, answer.batch_id, index, b"output %d" % index)
        await until(
            parts, answer.batch_id, lambda rows: statuses(rows) == [JobStatus.COMPLETED] * 4
        )
        again = await asked(parts, *chain(4))
        assert [row.outcome for row in again.rows] == [Outcome.FOUND_COMPLETED] * 4
        assert again.statistics.final
        assert len(parts.engine.launches) == 4


async def test_what_is_run_again_with_the_same_output_finds_the_rest_completed(
    start: Start,
) -> None:
    parts = start()
    async with parts.serving():
        answer = await asked(parts, *chain(3))
        for index in range(3):
            await run(parts, answer.batch_id, index, b"output %d" % index)
        await until(
            parts, answer.batch_id, lambda rows: statuses(rows) == [JobStatus.COMPLETED] * 3
        )
        again = await asked(parts, *chain(3, REFRESH))
        assert statuses(again.rows)[1:] == [JobStatus.BLOCKED, JobStatus.BLOCKED]
        await run(parts, again.batch_id, 0, b"output 0")
        rows = await until(
            parts, again.batch_id, lambda rows: statuses(rows) == [JobStatus.COMPLETED] * 3
        )
        assert [row.outcome for row in rows] == [
            Outcome.SUBMITTED,
            Outcome.FOUND_COMPLETED,
            Outcome.FOUND_COMPLETED,
        ]
        assert len(parts.engine.launches) == 4


async def test_a_failure_skips_those_that_needed_success_and_says_so(start: Start) -> None:
    parts = start()
    async with parts.serving():
        answer = await asked(
            parts,
            *chain(3),
            job(3, n=3, upstreams=[after(0, Condition.FAILED)]),
            job(4, n=4, upstreams=[after(2, Condition.FINISHED)]),
        )
        await run(parts, answer.batch_id, 0, b"", code=1)
        await until_submitted(parts, answer.batch_id, 3)
        await until_submitted(parts, answer.batch_id, 4)
        rows = rows_of(parts.store, answer.batch_id)
        assert statuses(rows)[:3] == [JobStatus.FAILED, JobStatus.SKIPPED, JobStatus.SKIPPED]
        reasons = [told(parts, row).message for row in rows[1:3]]
        assert reasons == [
            "Row ended as SKIPPED: config 'row 0' did not succeed: it is FAILED",
            "Row ended as SKIPPED: config 'row 1' did not succeed: it is SKIPPED",
        ]
        skipped = told(parts, rows[1])
        assert skipped.outcome == types_pb2.OUTCOME_WITHHELD
        assert skipped.new_status == types_pb2.JOB_STATUS_SKIPPED
        assert skipped.job_id == ""


async def test_a_row_that_waits_says_what_for(start: Start) -> None:
    parts = start()
    async with parts.serving():
        upstreams = [after(index) for index in range(12)]
        rows = [job(index, n=index) for index in range(12)]
        answer = await asked(parts, *rows, job(12, upstreams=upstreams[:2]), job(13, n=13))
        waits = told(parts, answer.rows[12])
        assert waits.message == "Waits for config 'row 0', config 'row 1'"
        assert waits.new_status == types_pb2.JOB_STATUS_BLOCKED
        assert waits.outcome == types_pb2.OUTCOME_PENDING
        many = await asked(parts, *rows, job(12, upstreams=upstreams))
        message = told(parts, many.rows[12]).message
        assert message.endswith("config 'row 9' and 2 more")


async def test_a_row_that_cannot_run_at_all_is_rejected_at_once(start: Start) -> None:
    parts = start()
    async with parts.serving():
        answer = await asked(
            parts,
            job(0, n=0),
            job(1, method="absent", upstreams=[after(0)]),
            job(2, method="count", upstreams=[after(0, input_name="other")]),
            job(3, upstreams=[after(1)]),
            job(4, n=4, upstreams=[after(2, Condition.FINISHED)]),
        )
        assert [row.outcome for row in answer.rows] == [
            Outcome.SUBMITTED,
            Outcome.REJECTED,
            Outcome.REJECTED,
            Outcome.WITHHELD,
            Outcome.SUBMITTED,
        ]
        assert "is REJECTED" in told(parts, answer.rows[3]).message


async def test_a_row_whose_file_is_gone_when_it_is_looked_up_is_rejected(start: Start) -> None:
    parts = start()
    absent = store_values.sha("absent")
    async with parts.serving():
        answer = await asked(
            parts, job(0), job(1, method="count", inputs={"input": absent}, upstreams=[after(0)])
        )
        assert answer.rows[1].status is JobStatus.BLOCKED
        await run(parts, answer.batch_id, 0, b"")
        rows = await until(parts, answer.batch_id, lambda rows: rows[1].outcome is Outcome.REJECTED)
        assert absent in told(parts, rows[1]).message


async def test_a_job_that_is_known_can_be_waited_for(start: Start) -> None:
    parts = start()
    async with parts.serving():
        before = await asked(parts, job(0, n=1))
        job_id = told(parts, before.rows[0]).job_id
        waiting = job(0, method="count", upstreams=[after_job(job_id, input_name="input")])
        answer = await asked(parts, waiting)
        assert answer.rows[0].status is JobStatus.BLOCKED
        await run(parts, before.batch_id, 0, b"its output")
        key = await until_submitted(parts, answer.batch_id, 0)
        record = parts.store.find_job(key.job_id)
        assert record is not None
        assert record.spec.inputs == {"input": store_values.sha("its output")}


async def test_a_job_that_nobody_knows_is_refused_by_name(start: Start) -> None:
    parts = start()
    async with parts.serving():
        with pytest.raises(errors.InvalidRequestError) as refused:
            await asked(parts, job(0, upstreams=[after_job("0" * 64)]))
        (violation,) = refused.value.violations
        assert violation.field == "jobs[0].depends_on[0].job_id"
        assert "0" * 64 in violation.description


async def test_a_retry_is_waited_for(start: Start) -> None:
    parts = start(retries=retry.Retries(max_retries=1, first_seconds=0.01, last_seconds=0.01))
    async with parts.serving():
        answer = await asked(parts, *chain(2))
        key = await until_submitted(parts, answer.batch_id, 0)
        await parts.engine.launched(key)
        await parts.engine.lost(key)
        again = AttemptKey(job_id=key.job_id, number=2)
        await parts.engine.launched(again)
        assert rows_of(parts.store, answer.batch_id)[1].status is JobStatus.BLOCKED
        await parts.engine.exited(again, stdout=b"at last")
        await until_submitted(parts, answer.batch_id, 1)


async def test_who_waits_for_what_ended_before_a_crash_is_released_by_the_next_start(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: object) -> None:
        await asyncio.Event().wait()

    before = start()
    with monkeypatch.context() as crashed:
        crashed.setattr(releasing.Releasing, "run", never)
        async with before.serving():
            answer = await asked(before, *chain(2))
            await run(before, answer.batch_id, 0, b"output")
            await until(before, answer.batch_id, lambda rows: rows[0].status is JobStatus.COMPLETED)
    parts = start()
    async with parts.serving():
        await run(parts, answer.batch_id, 1, b"more")
        await until(parts, answer.batch_id, lambda rows: rows[1].status is JobStatus.COMPLETED)
    assert len(parts.engine.launches) == 1


async def was_run(parts: Assembly, length: int) -> None:
    """Have a chain run, so that whoever asks for it finds all of it completed."""
    answer = await asked(parts, *chain(length))
    for index in range(length):
        await run(parts, answer.batch_id, index, b"output %d" % index)
    await until_completed(parts, answer.batch_id)


async def until_completed(parts: Assembly, batch_id: str) -> None:
    await until(
        parts,
        batch_id,
        lambda rows: bool(rows) and {row.status for row in rows} == {JobStatus.COMPLETED},
    )


def newest_batch(parts: Assembly) -> str:
    return parts.store.find_batches(after=None, limit=1)[0].batch_id


async def test_a_batch_whose_call_is_lost_as_it_is_accepted_goes_on(start: Start) -> None:
    parts = start()
    is_held, is_open = threading.Event(), threading.Event()

    def held(_: port.Writer) -> bool:
        is_held.set()
        return is_open.wait(DEADLINE_SECONDS)

    async with parts.serving():
        await was_run(parts, 2)
        before = newest_batch(parts)
        await parts.until(lambda store: not store.has_undecided())
        holding = asyncio.create_task(parts.committer.write(held))
        await parts.until(lambda _: is_held.is_set())
        works = parts.committer._waiting
        lost = asyncio.create_task(asked(parts, *chain(2)))
        await parts.until(lambda _: works.qsize() == 1)
        lost.cancel()
        # Behind the batch its rows are looked at, though the store shows neither yet.
        await parts.until(lambda _: works.qsize() == 2)
        is_open.set()
        assert await holding
        await parts.until(lambda _: newest_batch(parts) != before)
        await until_completed(parts, newest_batch(parts))


async def test_a_batch_whose_call_is_lost_as_its_rows_go_on_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    begun = asyncio.Event()
    real = parts.releasing._settled

    async def settled(upstreams: Upstreams | None, within: str | None) -> Settled:
        if within is not None:
            begun.set()
            await asyncio.Event().wait()
        return await real(upstreams, within)

    async with parts.serving():
        await was_run(parts, 2)
        monkeypatch.setattr(parts.releasing, "_settled", settled)
        lost = asyncio.create_task(asked(parts, *chain(2)))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await begun.wait()
        lost.cancel()
        await until_completed(parts, newest_batch(parts))


async def test_what_takes_long_goes_on_without_a_look_at_other_batches(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "BEGIN_SECONDS", 0.0)
    parts = start()
    looked_at: list[Upstreams | None] = []
    real = parts.releasing._settled

    async def settled(upstreams: Upstreams | None, within: str | None) -> Settled:
        looked_at.append(upstreams)
        return await real(upstreams, within)

    async with parts.serving():
        await was_run(parts, 2)
        monkeypatch.setattr(parts.releasing, "_settled", settled)
        answer = await asked(parts, *chain(2))
        assert statuses(answer.rows) == [JobStatus.COMPLETED, JobStatus.BLOCKED]
        await until_completed(parts, answer.batch_id)
    assert looked_at
    assert None not in looked_at


async def test_what_cannot_be_written_now_is_released_when_the_store_is_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "RETRY_SECONDS", 0.01)
    parts = start()
    tried = asyncio.Event()
    real = parts.releasing._settled

    async def failing(*_: object) -> Sequence[object]:
        tried.set()
        raise errors.UnavailableError("not now", retry_after_seconds=1.0)

    async with parts.serving():
        answer = await asked(parts, *chain(2))
        with monkeypatch.context() as broken:
            broken.setattr(parts.releasing, "_settled", failing)
            await run(parts, answer.batch_id, 0, b"output")
            async with asyncio.timeout(DEADLINE_SECONDS):
                await tried.wait()
        assert parts.releasing._settled == real
        await until_submitted(parts, answer.batch_id, 1)


async def test_a_fan_in_starts_when_the_last_has_ended(start: Start) -> None:
    parts = start(cpus=50)
    async with parts.serving():
        ends = [job(n, n=n) for n in range(50)]
        joined = job(50, n=50, upstreams=[after(n) for n in range(50)])
        answer = await asked(parts, *ends, joined)
        await asyncio.gather(*(run(parts, answer.batch_id, n, b"") for n in range(1, 50)))
        await until(
            parts,
            answer.batch_id,
            lambda rows: statuses(rows)[1:50] == [JobStatus.COMPLETED] * 49,
        )
        assert rows_of(parts.store, answer.batch_id)[50].status is JobStatus.BLOCKED
        await run(parts, answer.batch_id, 0, b"")
        await until_submitted(parts, answer.batch_id, 50)


@pytest.mark.parametrize("code", [0, 1])
async def test_many_who_wait_for_one_are_told_some_at_a_time(
    start: Start, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(settling, "SETTLED_DEPENDENCIES", 3)
    parts = start(cpus=9)
    async with parts.serving():
        answer = await asked(
            parts, job(0, n=0), *(job(n, n=n, upstreams=[after(0)]) for n in range(1, 9))
        )
        await run(parts, answer.batch_id, 0, b"", code)
        if code:
            skipped = [JobStatus.FAILED, *[JobStatus.SKIPPED] * 8]
            await until(parts, answer.batch_id, lambda rows: statuses(rows) == skipped)
        else:
            await asyncio.gather(*(run(parts, answer.batch_id, n, b"") for n in range(1, 9)))
            await until_completed(parts, answer.batch_id)


@pytest.fixture
def two(
    start: Start, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], contextlib.AbstractAsyncContextManager[list[Assembly]]]:
    """Run two servers over one database."""
    monkeypatch.setattr(membership, "LOOK_SECONDS", 0.05)

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[list[Assembly]]:
        async with contextlib.AsyncExitStack() as stack:
            made = [start(url=postgres_url, lease_seconds=60.0, cpus=8) for _ in range(2)]
            for each in made:
                await stack.enter_async_context(each.serving())
            yield made

    return running


async def test_of_two_servers_each_row_is_released_by_one(
    two: Callable[[], contextlib.AbstractAsyncContextManager[list[Assembly]]],
) -> None:
    async with two() as servers:
        chains = 4
        rows = [job(n, n=n) for n in range(chains)]
        rows += [taking(chains + n, n, n=n) for n in range(chains)]
        rows.append(job(2 * chains, n=99, upstreams=[after(chains + n) for n in range(chains)]))
        answer = await asked(servers[0], *rows)

        async def finish(index: int) -> None:
            key = await until_submitted(servers[0], answer.batch_id, index)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not any(key in each.engine.launches for each in servers):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.005)
            (owner,) = [each for each in servers if key in each.engine.launches]
            await owner.engine.exited(key, stdout=b"output %d" % index)

        await asyncio.gather(*(finish(index) for index in range(len(rows))))
        done = await until(
            servers[1],
            answer.batch_id,
            lambda rows: all(row.status is JobStatus.COMPLETED for row in rows),
        )
        assert all(row.attempt is not None and row.attempt.key.number == 1 for row in done)
        assert sum(len(each.engine.launches) for each in servers) == len(rows)
