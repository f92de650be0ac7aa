"""From the queue to the engine: order, capacity, and what cannot be started."""

import asyncio
import dataclasses
import errno
import random
import shutil
from collections.abc import Callable, Sequence

import pytest
import structlog

from dshpc_server import errors
from dshpc_server.batches import dispatcher, request, resolver, updating
from dshpc_server.domain import retry
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store import port, records
from support import methods_site, store_values
from support.batches_assembly import Assembly, job

Start = Callable[..., Assembly]
RETRIES = retry.Retries(max_retries=3, first_seconds=0.05, last_seconds=0.1)


def needing(cpus: int) -> request.RequestedResources:
    return request.RequestedResources(cpus=cpus)


def keys(rows: Sequence[records.Row]) -> list[AttemptKey]:
    return [row.attempt.key for row in rows if row.attempt is not None]


async def test_jobs_start_in_order_and_never_use_more_than_there_is(start: Start) -> None:
    chance = random.Random(4)
    before = start(cpus=4)
    async with before.storing():
        batches = [
            keys(
                await before.accept(
                    *(
                        job(i, n=i, batch=batch, resources=needing(chance.randint(1, 4)))
                        for i in range(10)
                    )
                )
            )
            for batch in range(4)
        ]
    wanted = [key for turn in zip(*batches, strict=True) for key in turn]
    parts = start(cpus=4)
    async with parts.serving():
        for ended in range(len(wanted)):
            await parts.engine.launched_count(ended + 1)
            key = chance.choice(list(parts.engine.running))
            await parts.engine.exited(key, chance.choice([0, 0, 1]))
        await parts.until(lambda store: all_ended(store, wanted))
    assert list(parts.engine.launches) == wanted


def all_ended(store: port.Reader, wanted: Sequence[AttemptKey]) -> bool:
    attempts = store.find_attempts([key.job_id for key in wanted])
    return all(attempt.ended_at is not None for attempt in attempts.values())


async def test_a_large_job_at_the_head_is_not_overtaken(start: Start) -> None:
    parts = start(cpus=2)
    async with parts.serving():
        small, large, later = keys(
            await parts.accept(job(0, n=0), job(1, n=1, resources=needing(2)), job(2, n=2))
        )
        await parts.engine.launched(small)
        # It wakes the dispatcher, for nothing.
        (other,) = keys(await parts.accept(job(n=3)))
        await parts.engine.exited(small)
        await parts.engine.launched(large)
        await parts.engine.exited(large)
        await parts.engine.launched(later)
    assert list(parts.engine.launches) == [small, large, other, later]


async def test_a_lower_priority_stands_back_for_a_higher_one_and_does_not_starve(
    start: Start,
) -> None:
    parts = start(cpus=1, ageing_seconds=0.001)
    async with parts.serving():
        high = keys(await parts.accept(*(job(n, n=n, priority=3) for n in range(40))))
        await parts.engine.launched(high[0])
        (low,) = keys(await parts.accept(job(n=100)))
        for ended in range(41):
            await parts.engine.launched_count(ended + 1)
            await parts.engine.exited(next(iter(parts.engine.running)))
        await parts.until(lambda store: all_ended(store, [*high, low]))
    started = list(parts.engine.launches)
    assert started.index(low) < 40
    assert [key for key in started if key != low] == high


async def test_a_higher_priority_is_next_whatever_waits_already(start: Start) -> None:
    parts = start(cpus=1)
    async with parts.serving():
        usual = keys(await parts.accept(*(job(n, n=n) for n in range(3))))
        await parts.engine.launched(usual[0])
        (high,) = keys(await parts.accept(job(n=100, priority=1)))
        for ended in range(4):
            await parts.engine.launched_count(ended + 1)
            await parts.engine.exited(next(iter(parts.engine.running)))
    assert list(parts.engine.launches) == [usual[0], high, *usual[1:]]


@pytest.mark.parametrize("how", ["its batch is updated", "it is joined"])
async def test_what_is_moved_up_in_the_queue_starts_as_soon_as_it_is_next(
    start: Start, how: str
) -> None:
    parts = start(cpus=2)
    async with parts.serving():
        (running,) = keys(await parts.accept(job(n=0)))
        await parts.engine.launched(running)
        large = await parts.prepare([job(n=1, resources=needing(2))])
        small = await parts.prepare([job(n=2)])

        def accept(writer: port.Writer) -> Sequence[records.Row]:
            writer.accept(large)
            return writer.accept(small)

        (behind,) = keys(await parts.committer.write(accept))
        await parts.until(lambda _: bool(parts.dispatcher.waiting(behind, JobStatus.PENDING).why))
        if how == "it is joined":
            await parts.accept(job(n=2, priority=1))
        else:
            await updating.set_priority(parts.committer, small.batch_id, 1)
        await parts.engine.launched(behind)
    assert list(parts.engine.launches) == [running, behind]


async def test_a_job_too_large_since_a_restart_fails_and_holds_up_nobody(start: Start) -> None:
    before = start(cpus=4)
    async with before.storing():
        large, small = keys(await before.accept(job(0, n=0, resources=needing(4)), job(1, n=1)))
    parts = start(cpus=2)
    async with parts.serving():
        await parts.until_status(large, JobStatus.BOOT_FAIL)
        assert "can never run here (resources.cpus: 4 asked, 2 available)" in parts.reason(large)
        await parts.engine.launched(small)


async def test_one_run_serves_every_batch_that_asked_for_it(start: Start) -> None:
    parts = start()
    async with parts.serving():
        (first,) = await parts.accept(job(n=1))
        (second,) = await parts.accept(job(n=1))
        assert keys([first]) == keys([second])
        (key,) = keys([first])
        await parts.engine.launched(key)
        await parts.engine.exited(key)
        await parts.until_status(key, JobStatus.COMPLETED)
        (third,) = await parts.accept(job(n=1))
    assert third.attempt is not None
    assert third.attempt.status is JobStatus.COMPLETED
    assert list(parts.engine.launches) == [key]


async def test_a_removed_methods_version_still_runs(start: Start, site: methods_site.Site) -> None:
    parts = start()
    async with parts.serving():
        prepared = resolver.Prepared(batch=await parts.prepare([job(n=1)]), on_disk=[])
        site.manifest_file("hello").unlink()
        parts.catalog.load()
        assert "hello" not in parts.catalog.current()
        (key,) = keys(await parts.resolver.accept(prepared))
        launch = await parts.engine.launched(key)
    assert launch.script.read_text() == methods_site.HELLO


async def test_a_version_that_is_gone_at_launch_is_boot_fail_with_the_reason(
    start: Start, site: methods_site.Site
) -> None:
    before = start()
    async with before.storing():
        (key,) = keys(await before.accept(job(n=1)))
    site.manifest_file("hello").unlink()
    for folder in site.snapshots_dir.rglob("*"):
        folder.chmod(0o700 if folder.is_dir() else 0o600)
    shutil.rmtree(site.snapshots_dir)
    parts = start()
    async with parts.serving():
        ended = await parts.until_status(key, JobStatus.BOOT_FAIL)
        assert "is not installed any more" in parts.reason(key)
    assert ended.started_at is None
    assert not parts.engine.launches
    assert not parts.active.get(key)


async def test_inputs_that_were_declared_anew_are_boot_fail_and_dispatch_goes_on(
    start: Start, site: methods_site.Site
) -> None:
    before = start(cpus=1)
    async with before.storing():
        counted = job(0, method="count", inputs={"input": before.kept.put(b"data")})
        first, second = keys(await before.accept(counted, job(1, n=1)))
    site.install("count", {"main.py": "print('count')\n"}, inputs=[{"name": "table"}])
    parts = start(cpus=1)
    async with parts.serving():
        await parts.until_status(first, JobStatus.BOOT_FAIL)
        assert "other inputs" in parts.reason(first)
        await parts.engine.launched(second)


async def test_an_input_that_is_gone_at_launch_is_boot_fail_and_can_be_asked_for_again(
    start: Start,
) -> None:
    before = start()
    async with before.storing():
        file_hash = before.kept.put(b"data")
        (key,) = keys(await before.accept(job(method="count", inputs={"input": file_hash})))
        stored = before.kept.find(file_hash)
        assert stored is not None
        stored.unlink()
    parts = start()
    async with parts.serving():
        await parts.until_status(key, JobStatus.BOOT_FAIL)
        assert f"input 'input' {file_hash} is not stored" in parts.reason(key)
        parts.kept.put(b"data")
        (again,) = keys(await parts.accept(job(method="count", inputs={"input": file_hash})))
        assert again.number == 2
        launch = await parts.engine.launched(again)
        assert launch.inputs["input"].read_bytes() == b"data"


async def test_dispatch_resumes_when_the_store_answers_again(start: Start) -> None:
    parts = start()
    async with parts.storing():
        (key,) = keys(await parts.accept(job(n=1)))
    parts = start()
    parts.wavering.refuse(3)
    async with parts.serving():
        await parts.engine.launched(key)
    assert parts.wavering.refused == 3


@pytest.mark.parametrize(
    "refusal",
    [
        errors.UnavailableError("no room", retry_after_seconds=0.01),
        OSError(errno.EMFILE, "too many open files"),
    ],
)
async def test_a_claim_whose_input_could_not_be_written_just_now_is_launched_later(
    start: Start, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    """The input is a short output, which goes to disk when a method is to read it."""
    parts = start(cpus=1)
    async with parts.serving():
        (first,) = keys(await parts.accept(job(n=1)))
        await parts.engine.launched(first)
        await parts.engine.exited(first, stdout=b"short")
        await parts.until_status(first, JobStatus.COMPLETED)
        put, refusals = parts.kept.put, iter([True, True, False])

        def without_room(data: bytes) -> str:
            if next(refusals, False):
                raise refusal
            return put(data)

        monkeypatch.setattr(parts.kept, "put", without_room)
        inputs = {"input": store_values.sha("short")}
        (second,) = keys(await parts.accept(job(method="count", inputs=inputs)))
        launch = await parts.engine.launched(second)
        assert launch.inputs["input"].read_bytes() == b"short"


async def test_without_room_on_disk_nothing_is_claimed_until_there_is_some_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.01)
    parts = start()
    parts.room.is_there = False
    with structlog.testing.capture_logs() as logs:
        async with parts.serving():
            (key,) = keys(await parts.accept(job(n=1)))
            await asyncio.sleep(0.05)  # it looks again some times
            assert parts.statuses(key) == [JobStatus.PENDING]
            parts.room.is_there = True
            await parts.engine.launched(key)
    told = [each["event"] for each in logs if each["event"].startswith("dispatch.")]
    assert told == ["dispatch.paused", "dispatch.resumed"]


async def test_what_is_claimed_waits_for_room_too_but_can_be_cancelled(start: Start) -> None:
    before = start(cpus=4)
    async with before.storing():
        kept, cancelled = keys(await before.accept(job(0, n=0), job(1, n=1)))
        await before.committer.write(lambda writer: writer.claim(store_values.take, 2))
    parts = start(cpus=4)
    parts.room.is_there = False
    async with parts.serving():
        await parts.until(lambda _: len(parts.active.keys) == 2)
        cancelling = asyncio.create_task(
            parts.cancelling.cancel(cancelled.job_id, "no more", wait_seconds=30)
        )
        await parts.engine.cancel_asked(cancelled)
        await parts.engine.lost(cancelled)
        record = await cancelling
        assert record.newest.attempt.status is JobStatus.CANCELLED
        assert not parts.engine.launches
        parts.room.is_there = True
        await parts.engine.launched(kept)
    assert list(parts.engine.launches) == [kept]


async def test_a_retry_is_started_when_it_is_due_though_nobody_wakes_the_dispatcher(
    start: Start,
) -> None:
    parts = start(retries=RETRIES)
    async with parts.serving():
        (first,) = keys(await parts.accept(job(n=1)))
        await parts.engine.launched(first)
        await parts.engine.lost(first, "the node is gone")
        second = dataclasses.replace(first, number=2)
        await parts.engine.launched(second)
        await parts.engine.exited(second, stdout=b"in the end")
        ended = await parts.until_status(second, JobStatus.COMPLETED)
    assert (ended.chain, ended.retries) == (1, 1)
    (lost,) = [each for each in parts.changes if each.status is JobStatus.NODE_FAIL]
    assert lost.is_retried


async def test_a_retry_keeps_its_place_and_holds_up_nobody_before_it_is_due(start: Start) -> None:
    parts = start(cpus=1, retries=dataclasses.replace(RETRIES, first_seconds=600.0))
    async with parts.serving():
        first, second = keys(await parts.accept(job(0, n=0), job(1, n=1)))
        await parts.engine.launched(first)
        await parts.engine.lost(first)
        await parts.engine.launched(second)
    assert list(parts.engine.launches) == [first, second]


async def test_a_claim_that_was_made_though_it_failed_is_taken_up(start: Start) -> None:
    before = start()
    async with before.storing():
        (key,) = keys(await before.accept(job(n=1)))
    parts = start()
    parts.wavering.lose(1, after=1)  # the first is the taking over
    async with parts.serving():
        launch = await parts.engine.launched(key)
        assert launch.key == key
        await parts.engine.exited(key)
        await parts.until_status(key, JobStatus.COMPLETED)
    assert parts.wavering.lost == 1
    assert list(parts.engine.launches) == [key]


async def test_an_end_that_was_recorded_though_that_failed_gives_its_room_back(
    start: Start,
) -> None:
    parts = start(cpus=1)
    async with parts.serving():
        first, second = keys(await parts.accept(job(0, n=0), job(1, n=1)))
        await parts.engine.launched(first)
        with parts.watchers.watch([first.job_id]) as watch:
            parts.wavering.lose(1)
            await parts.engine.exited(first)
            async with asyncio.timeout(30):
                while not any(each.status is JobStatus.COMPLETED for each in watch.take()):
                    assert await watch.wait(30)
        await parts.engine.launched(second)
        assert parts.active.get(first) is None
    assert parts.wavering.lost == 1


async def test_a_work_that_is_run_twice_claims_what_fits_once(start: Start) -> None:
    parts = start(cpus=2)
    async with parts.storing():
        wanted = keys(await parts.accept(*(job(n, n=n) for n in range(3))))
    parts = start(cpus=2)
    parts.wavering.repeat(100)
    async with parts.serving():
        await parts.engine.launched_count(2)
        await parts.engine.exited(wanted[0])
        await parts.engine.launched(wanted[2])
    assert list(parts.engine.launches) == wanted
