"""From the queue to the engine: order, capacity, and what cannot be started."""

import random
import shutil
from collections.abc import Callable, Sequence

import pytest

from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store import port
from support import methods_site, store_values
from support.batches_assembly import Assembly, job

Start = Callable[..., Assembly]


def needing(cpus: int) -> request.RequestedResources:
    return request.RequestedResources(cpus=cpus)


def keys(rows: Sequence[port.Row]) -> list[AttemptKey]:
    return [row.attempt.key for row in rows if row.attempt is not None]


async def test_jobs_start_in_order_and_never_use_more_than_there_is(start: Start) -> None:
    chance = random.Random(4)
    parts = start(cpus=4)
    async with parts.serving():
        wanted = []
        for batch in range(4):
            wanted += keys(
                await parts.accept(
                    *(
                        job(i, n=i, batch=batch, resources=needing(chance.randint(1, 4)))
                        for i in range(10)
                    )
                )
            )
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
        await parts.accept(job(n=3))  # wakes the dispatcher, for nothing
        await parts.engine.exited(small)
        await parts.engine.launched(large)
        await parts.engine.exited(large)
        await parts.engine.launched(later)
    assert list(parts.engine.launches)[:3] == [small, large, later]


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
        batch = await parts.prepare([job(n=1)])
        site.manifest_file("hello").unlink()
        parts.catalog.load()
        assert "hello" not in parts.catalog.current()
        (key,) = keys(await parts.resolver.accept(batch))
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


async def test_a_claim_whose_input_could_not_be_written_just_now_is_launched_later(
    start: Start, monkeypatch: pytest.MonkeyPatch
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
                raise errors.UnavailableError("no room", retry_after_seconds=0.01)
            return put(data)

        monkeypatch.setattr(parts.kept, "put", without_room)
        inputs = {"input": store_values.sha("short")}
        (second,) = keys(await parts.accept(job(method="count", inputs=inputs)))
        launch = await parts.engine.launched(second)
        assert launch.inputs["input"].read_bytes() == b"short"
