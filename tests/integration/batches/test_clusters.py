"""An engine with nodes, a queue and pauses of its own: what is accepted, handed over and told."""

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from dshpc_server.batches import request, trials
from dshpc_server.batches.run_times import LEAST_RUNS
from dshpc_server.domain import retry
from dshpc_server.domain.job import AttemptKey, Basis, JobStatus, Resources
from dshpc_server.engine import port as engine_port
from dshpc_server.store import records
from support import batches_prepared, store_values
from support.batches_assembly import DEFAULTS, Assembly, job

Start = Callable[..., Assembly]
PENDING, CONFIGURING = JobStatus.PENDING, JobStatus.CONFIGURING
CLUSTER = engine_port.Capacity(
    cpus=8,
    memory_bytes=100,
    gpus=0,
    nodes=[Resources(cpus=4, memory_bytes=50)] * 2,
    longest_seconds=30.0,
    queued_jobs=3,
)
UNKNOWN = engine_port.Capacity(cpus=10**6, memory_bytes=10**12, gpus=10**6, queued_jobs=3)
PACKING = engine_port.Capacity(
    cpus=2, memory_bytes=0, gpus=0, queued_jobs=100, packs_below_seconds=0.2
)


def keys(rows: Sequence[records.Row]) -> list[AttemptKey]:
    return [row.attempt.key for row in rows if row.attempt is not None]


async def test_the_queue_is_kept_full_by_number_and_who_waits_is_told_why(start: Start) -> None:
    parts = start(capacity=CLUSTER)
    async with parts.serving():
        wide = request.RequestedResources(cpus=4)
        wanted = keys(await parts.accept(*(job(n, n=n, resources=wide) for n in range(5))))
        await parts.engine.launched_count(3)
        full = "waits for a place in the queue of the engine: 3 attempts are in it"
        await parts.until(lambda _: parts.dispatcher.waiting(wanted[3], PENDING).why == full)
        await parts.engine.started(wanted[0])
        await parts.until_status(wanted[0], JobStatus.RUNNING)
        assert len(parts.engine.launches) == 3
        await parts.engine.exited(wanted[1])
        await parts.engine.launched(wanted[3])
        told = engine_port.Waiting(why="Priority", engine_job_id="12_3")
        parts.engine.queue[wanted[3]] = told
        assert parts.dispatcher.waiting(wanted[3], CONFIGURING) == told
        assert parts.dispatcher.waiting(wanted[2], CONFIGURING) == engine_port.Waiting()
        others = AttemptKey(job_id="f" * 64, number=1)
        parts.engine.queue[others] = told
        assert parts.dispatcher.waiting(others, CONFIGURING) == engine_port.Waiting()
        await parts.engine.exited(wanted[0])
        await parts.engine.launched(wanted[4])
    assert list(parts.engine.launches) == wanted


async def test_who_waits_for_room_is_told_what_is_in_use(start: Start) -> None:
    parts = start(cpus=2)
    async with parts.serving():
        wide = request.RequestedResources(cpus=2)
        first, second, third = keys(
            await parts.accept(job(0, n=0), job(1, n=1, resources=wide), job(2, n=2))
        )
        await parts.engine.launched(first)
        short = "waits for room: 1 of 2 cores are in use, and 2 are needed"
        await parts.until(lambda _: parts.dispatcher.waiting(third, PENDING).why == short)
        await parts.engine.exited(first)
        await parts.engine.launched(second)
        full = "waits for room: 2 of 2 cores are in use"
        await parts.until(lambda _: parts.dispatcher.waiting(third, PENDING).why == full)
        await parts.engine.exited(second)
        await parts.engine.launched(third)
        await parts.until(lambda _: parts.dispatcher.waiting(first, PENDING).why == "")


async def test_who_waits_for_room_on_disk_is_told_so(start: Start) -> None:
    parts = start()
    parts.room.is_there = False
    async with parts.serving():
        (key,) = keys(await parts.accept(job(n=1)))
        told = "waits: there is no room on disk"
        await parts.until(lambda _: parts.dispatcher.waiting(key, PENDING).why == told)
        parts.room.is_there = True
        await parts.engine.launched(key)
        await parts.until(lambda _: parts.dispatcher.waiting(key, PENDING).why == "")


async def test_a_row_that_fits_no_node_or_takes_too_long_is_rejected_at_once(start: Start) -> None:
    parts = start(capacity=CLUSTER)
    async with parts.storing():
        wide, patient, usual = await batches_prepared.prepare(
            parts,
            job(0, n=0, resources=request.RequestedResources(cpus=5)),
            job(1, n=1, timeout_seconds=31.0),
            job(2, n=2),
        )
    assert "5 asked, 4 available on the largest node" in batches_prepared.refusal(wide).message
    assert "31 s asked, 30 s at most" in batches_prepared.refusal(patient).message
    assert usual.candidate is not None
    assert usual.candidate.timeout_seconds == 30.0


async def test_what_was_accepted_before_the_cluster_was_known_is_made_to_fit_or_told(
    start: Start,
) -> None:
    before = start(capacity=UNKNOWN)
    async with before.storing():
        wide, usual = keys(
            await before.accept(
                job(0, n=0, resources=request.RequestedResources(cpus=5)), job(1, n=1)
            )
        )
    parts = start(capacity=CLUSTER)
    async with parts.serving():
        await parts.until_status(wide, JobStatus.BOOT_FAIL)
        assert "5 asked, 4 available on the largest node" in parts.reason(wide)
        launch = await parts.engine.launched(usual)
        assert (DEFAULTS.timeout_seconds, launch.timeout_seconds) == (60.0, 30.0)
        await parts.engine.exited(usual, signal=9, cause=engine_port.Cause.OVER_TIME)
        await parts.until_status(usual, JobStatus.TIMEOUT)
        assert parts.reason(usual) == "Stopped after its timeout of 30 s"


async def test_nothing_is_refused_while_the_cluster_is_not_known(start: Start) -> None:
    parts = start(capacity=UNKNOWN)
    async with parts.serving():
        wide = request.RequestedResources(cpus=100, memory_bytes=10**9)
        (key,) = keys(await parts.accept(job(n=1, resources=wide, timeout_seconds=600.0)))
        launch = await parts.engine.launched(key)
        assert (launch.resources.cpus, launch.timeout_seconds) == (100, 600.0)
        parts.engine.learn(CLUSTER)
        rejected = await batches_prepared.prepare(parts, job(n=2, resources=wide))
        assert "available on the largest node" in batches_prepared.refusal(rejected[0]).message


async def test_an_attempt_that_is_paused_keeps_its_place_and_goes_on(start: Start) -> None:
    parts = start(cpus=1)
    async with parts.serving():
        first, second = keys(await parts.accept(job(0, n=0), job(1, n=1)))
        await parts.engine.launched(first)
        await parts.engine.started(first)
        at = store_values.NOON
        await parts.engine.tell([engine_port.Suspended(key=first, at=at)])
        await parts.until_status(first, JobStatus.SUSPENDED)
        assert second not in parts.engine.launches
        await parts.engine.tell([engine_port.Resumed(key=first, at=at)])
        await parts.engine.tell([engine_port.Suspended(key=first, at=at)])
        await parts.engine.exited(first, stdout=b"in the end")
        ended = await parts.until_status(first, JobStatus.COMPLETED)
        assert ended.started_at is not None
        await parts.engine.launched(second)
    assert parts.statuses(first) == [
        JobStatus.PENDING,
        JobStatus.CONFIGURING,
        JobStatus.RUNNING,
        JobStatus.SUSPENDED,
        JobStatus.RUNNING,
        JobStatus.SUSPENDED,
        JobStatus.COMPLETED,
    ]


async def test_a_server_that_takes_over_is_told_that_what_was_paused_runs(start: Start) -> None:
    before = start(cpus=1)
    async with before.serving():
        (key,) = keys(await before.accept(job(n=1)))
        await before.engine.launched(key)
        await before.engine.started(key)
        await before.engine.tell([engine_port.Suspended(key=key, at=store_values.NOON)])
        await before.until_status(key, JobStatus.SUSPENDED)
    parts = start(cpus=1)
    async with parts.serving():
        await parts.until(lambda _: key in parts.engine.recovered)
        await parts.engine.started(key)
        await parts.until_status(key, JobStatus.RUNNING)


async def test_what_was_preempted_is_run_again(start: Start) -> None:
    parts = start(retries=retry.Retries(max_retries=1, first_seconds=0.01))
    async with parts.serving():
        (first,) = keys(await parts.accept(job(n=1)))
        await parts.engine.launched(first)
        await parts.engine.exited(first, signal=15, cause=engine_port.Cause.PREEMPTED)
        second = dataclasses.replace(first, number=2)
        await parts.engine.launched(second)
        await parts.engine.exited(second)
        await parts.until_status(second, JobStatus.COMPLETED)
    (preempted,) = [each for each in parts.changes if each.status is JobStatus.PREEMPTED]
    assert preempted.is_retried


async def test_runs_that_completed_tell_how_long_the_next_is_expected_to_take(start: Start) -> None:
    parts = start(cpus=1)
    async with parts.serving():
        wanted = keys(await parts.accept(*(job(n, n=n) for n in range(LEAST_RUNS + 2))))
        failed, *completed, last = wanted
        await parts.engine.launched(failed)
        await parts.engine.exited(failed, 1)
        for key in completed:
            assert (await parts.engine.launched(key)).run_time is None
            await parts.engine.started(key)
            await parts.engine.exited(key)
        # Its place is free before the end of the last one is recorded.
        await parts.engine.launched(last)
        await parts.until_status(completed[-1], JobStatus.COMPLETED)
        (another,) = keys(await parts.accept(job(n=100)))
        await parts.engine.exited(last)
        expected = (await parts.engine.launched(another)).run_time
    assert expected is not None
    assert expected.basis is Basis.OBSERVED
    assert expected.seconds >= 0


async def test_the_first_of_many_show_an_engine_that_packs_how_long_the_others_take(
    start: Start,
) -> None:
    parts = start(capacity=PACKING)
    async with parts.serving():
        wanted = keys(await parts.accept(*(job(n, n=n) for n in range(LEAST_RUNS + 3))))
        first, others = wanted[:LEAST_RUNS], wanted[LEAST_RUNS:]
        await parts.until(lambda _: parts.dispatcher.waiting(others[0], PENDING).why == trials.WHY)
        assert list(parts.engine.launches) == first
        for key in first:
            await parts.engine.started(key)
            await parts.engine.exited(key)
        launches = [await parts.engine.launched(key) for key in others]
    assert {launch.run_time and launch.run_time.basis for launch in launches} == {Basis.OBSERVED}


async def test_who_waits_for_a_trial_holds_up_no_other_method(start: Start) -> None:
    parts = start(capacity=PACKING)
    async with parts.serving():
        held = keys(await parts.accept(*(job(n, n=n) for n in range(LEAST_RUNS + 3))))
        await parts.until(lambda _: parts.dispatcher.waiting(held[-1], PENDING).why == trials.WHY)
        other = job(method="count", inputs={"input": parts.kept.put(b"data")}, priority=-1)
        (free,) = keys(await parts.accept(other))
        launch = await parts.engine.launched(free)
        assert parts.dispatcher.waiting(held[-1], PENDING).why == trials.WHY
        assert list(parts.engine.launches) == [*held[:LEAST_RUNS], free]
    assert launch.priority == -1


async def test_others_do_not_wait_for_long_for_the_first_of_many(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "STARTING_SECONDS", 0.2)
    parts = start(capacity=PACKING)
    async with parts.serving():
        wanted = keys(await parts.accept(*(job(n, n=n) for n in range(LEAST_RUNS + 3))))
        assert (await parts.engine.launched(wanted[-1])).run_time is None
        assert list(parts.engine.launches) == wanted
