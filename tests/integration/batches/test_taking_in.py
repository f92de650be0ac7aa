"""From an engine's facts to what is stored: every way to end, once, whatever is away meanwhile."""

import asyncio
import concurrent.futures
import errno
import os
import threading
from collections.abc import Callable

import pytest
import structlog

from dshpc_server.batches import reconciler
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.engine import port as engine
from support import store_values
from support.batches_assembly import DEADLINE_SECONDS, INLINE_BYTES, Assembly, job
from support.batches_ends import exited, launched, left, result

Start = Callable[..., Assembly]
LONG = b"x" * (INLINE_BYTES + 1)
SHORT = b"done\n"
NO_TEXT = b"\xff"
USUAL = [JobStatus.PENDING, JobStatus.CONFIGURING, JobStatus.RUNNING]


async def test_a_short_output_is_in_the_result(start: Start) -> None:
    parts = start()
    async with parts.serving():
        key = await launched(parts)
        await parts.engine.exited(key, stdout=SHORT, stderr=b"a warning")
        await parts.until_status(key, JobStatus.COMPLETED)
        assert result(parts, key).output == SHORT.decode()
        assert result(parts, key).exit_code == 0
        assert parts.reason(key) == ""
    assert parts.statuses(key) == [*USUAL, JobStatus.COMPLETED]
    assert parts.active.get(key) is None


async def test_a_long_output_goes_through_completing(start: Start) -> None:
    parts = start()
    async with parts.serving():
        key = await launched(parts)
        await parts.engine.exited(key, stdout=LONG)
        await parts.until_status(key, JobStatus.COMPLETED)
        told = result(parts, key)
        stored = parts.kept.find(told.output_hash)
    assert parts.statuses(key) == [*USUAL, JobStatus.COMPLETING, JobStatus.COMPLETED]
    assert told.output_truncated
    assert told.output_size_bytes == len(LONG)
    assert stored is not None
    assert stored.read_bytes() == LONG


async def test_an_exit_without_a_start_is_enough(start: Start) -> None:
    parts = start()
    async with parts.serving():
        (row,) = await parts.accept(job())
        assert row.attempt is not None
        key = row.attempt.key
        await parts.engine.launched(key)
        await parts.engine.exited(key, stdout=SHORT)
        ended = await parts.until_status(key, JobStatus.COMPLETED)
    assert ended.started_at is not None


@pytest.mark.parametrize(
    ("exit_code", "signal", "cause", "status", "reason"),
    [
        (3, None, engine.Cause.NONE, JobStatus.FAILED, "Exit code 3"),
        (0, 9, engine.Cause.NONE, JobStatus.FAILED, "Killed by signal 9 (SIGKILL)"),
        (0, 9, engine.Cause.OVER_TIME, JobStatus.TIMEOUT, "Stopped after its timeout of 60 s"),
        (0, 9, engine.Cause.OVER_MEMORY, JobStatus.OUT_OF_MEMORY, "Stopped for using more"),
        (0, 9, engine.Cause.CANCELLED, JobStatus.CANCELLED, "Cancelled"),
    ],
)
async def test_every_exit_ends_in_its_status(
    start: Start,
    exit_code: int,
    signal: int | None,
    cause: engine.Cause,
    status: JobStatus,
    reason: str,
) -> None:
    parts = start()
    async with parts.serving():
        key = await launched(parts)
        await parts.engine.exited(
            key, exit_code, signal=signal, cause=cause, stdout=LONG, stderr=b"the end of the log"
        )
        await parts.until_status(key, status)
        assert parts.reason(key).startswith(reason)
        told = result(parts, key)
    assert told.error.message.endswith("the end of the log")
    assert not told.HasField("output")
    assert told.output_hash == ""


async def test_what_never_started_and_what_was_lost_are_told_with_the_reason(
    start: Start,
) -> None:
    parts = start()
    async with parts.serving():
        lost = await launched(parts, 1)
        (row,) = await parts.accept(job(n=2))
        assert row.attempt is not None
        never = row.attempt.key
        await parts.engine.launched(never)
        await parts.engine.lost(lost, "the node is gone")
        await parts.engine.not_started(never, "no such command")
        await parts.until_status(lost, JobStatus.NODE_FAIL)
        await parts.until_status(never, JobStatus.BOOT_FAIL)
        assert parts.reason(lost) == "the node is gone"
        assert parts.reason(never) == "no such command"


async def test_what_was_lost_keeps_its_log_and_not_its_scratch_space(start: Start) -> None:
    parts = start()
    async with parts.serving():
        lost = await launched(parts, 1)
        folder = parts.launcher.folder(lost)
        (folder / "workspace" / "deep").mkdir(parents=True)
        (folder / "stderr").write_text("half way\n")
        await parts.engine.lost(lost, "the node is gone")
        await parts.until_status(lost, JobStatus.NODE_FAIL)
        found = parts.store.find_job(lost.job_id)
        async with asyncio.timeout(20):
            while (folder / "workspace").exists():  # noqa: ASYNC110 - a folder does not tell
                await asyncio.sleep(0.01)
    assert found is not None
    assert found.newest.ending is not None
    assert found.newest.ending.stderr_tail == "half way\n"
    assert (folder / "stderr").exists()


async def test_an_output_that_became_a_link_fails_the_job_and_is_not_followed(
    start: Start,
) -> None:
    parts = start()
    async with parts.serving():
        key = await launched(parts)
        folder = parts.engine.left_behind(key)
        folder.mkdir(parents=True)
        (folder / "stdout").symlink_to("/etc/passwd")
        await parts.engine.tell([exited(parts, key)])
        await parts.until_status(key, JobStatus.FAILED)
        assert "Exit code 0, but the output" in parts.reason(key)
        assert not result(parts, key).HasField("output")


async def test_late_repeated_and_foreign_facts_change_nothing(start: Start) -> None:
    parts = start()
    async with parts.serving():
        key = await launched(parts, 1)
        await parts.engine.exited(key, stdout=SHORT)
        ended = await parts.until_status(key, JobStatus.COMPLETED)
        foreign = AttemptKey(job_id="f" * 64, number=1)
        other_number = AttemptKey(job_id=key.job_id, number=2)
        for late in (key, foreign, other_number):
            await parts.engine.tell(
                [
                    engine.Lost(key=late, at=store_values.NOON, reason="late"),
                    engine.Started(key=late, at=store_values.NOON, engine_job_id="2", node="x"),
                ]
            )
        marker = await launched(parts, 2)
        await parts.engine.exited(marker, stdout=SHORT)
        await parts.until_status(marker, JobStatus.COMPLETED)
        assert parts.store.find_attempts([key.job_id])[key.job_id] == ended
        assert parts.store.find_job(foreign.job_id) is None


async def test_an_end_that_is_told_twice_at_once_is_recorded_once(start: Start) -> None:
    parts = start()
    async with parts.serving():
        for n, stdout in enumerate((SHORT, LONG)):
            key = await launched(parts, n)
            await asyncio.gather(
                parts.engine.exited(key, stdout=stdout), parts.engine.exited(key, stdout=stdout)
            )
            await parts.until_status(key, JobStatus.COMPLETED)
            marker = await launched(parts, n + 10)
            await parts.engine.exited(marker)
            await parts.until_status(marker, JobStatus.COMPLETED)
            assert parts.statuses(key).count(JobStatus.COMPLETED) == 1


@pytest.mark.parametrize("stdout", [SHORT, LONG])
async def test_a_result_waits_for_a_store_that_is_away_and_dispatch_goes_on(
    start: Start, stdout: bytes
) -> None:
    parts = start(cpus=1)
    with structlog.testing.capture_logs() as logs:
        async with parts.serving():
            key = await launched(parts, 1)
            parts.wavering.refuse(5)
            await parts.engine.exited(key, stdout=stdout)
            await parts.until_status(key, JobStatus.COMPLETED)
            assert result(parts, key).output_size_bytes == len(stdout)
            following = await launched(parts, 2)
            await parts.engine.exited(following)
            await parts.until_status(following, JobStatus.COMPLETED)
    told = [each["event"] for each in logs if each["event"].startswith("result.")]
    assert told == ["result.waits", "result.recorded"]
    assert parts.wavering.refused == 5


async def test_an_output_waits_for_room_on_disk_and_others_do_not_wait_for_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    is_full = True
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "no room")
        sync(descriptor)

    async with parts.serving():
        long, short = await launched(parts, 1), await launched(parts, 2)
        monkeypatch.setattr(os, "fsync", fsync)
        await parts.engine.exited(long, stdout=LONG)
        await parts.until_status(long, JobStatus.COMPLETING)
        await parts.engine.exited(short, stdout=SHORT)
        await parts.until_status(short, JobStatus.COMPLETED)
        assert parts.statuses(long)[-1] is JobStatus.COMPLETING
        is_full = False
        await parts.until_status(long, JobStatus.COMPLETED)
        assert parts.kept.is_intact(result(parts, long).output_hash)


async def test_a_short_output_waits_for_the_disk_and_those_told_with_it_do_not(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start(cpus=3)
    is_full = True
    put = parts.kept.put

    def fail(data: bytes) -> str:
        if is_full:
            raise OSError(errno.EIO, "no luck")
        return put(data)

    monkeypatch.setattr(parts.kept, "put", fail)
    async with parts.serving():
        waiting, beside, later = [await launched(parts, n) for n in range(3)]
        await parts.engine.tell([left(parts, waiting, NO_TEXT), left(parts, beside, SHORT)])
        await parts.until_status(beside, JobStatus.COMPLETED)
        await parts.engine.exited(later, stdout=SHORT)
        await parts.until_status(later, JobStatus.COMPLETED)
        assert parts.statuses(waiting)[-1] is JobStatus.RUNNING
        is_full = False
        await parts.until_status(waiting, JobStatus.COMPLETED)
        assert parts.kept.is_intact(result(parts, waiting).output_hash)


async def test_long_outputs_that_take_for_ever_leave_threads_to_others(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = reconciler.LONG_OUTPUTS + 1
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(threads))
    parts = start(cpus=2 * threads)
    answers = threading.Event()
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        answers.wait(DEADLINE_SECONDS)
        sync(descriptor)

    async with parts.serving():
        keys = [await launched(parts, n) for n in range(threads + 1)]
        *long, short = keys
        monkeypatch.setattr(os, "fsync", fsync)
        try:
            for n, key in enumerate(long):
                await parts.engine.exited(key, stdout=LONG + b"%d" % n)
                await parts.until_status(key, JobStatus.COMPLETING)
            await parts.engine.exited(short, stdout=SHORT)
            await parts.until_status(short, JobStatus.COMPLETED)
            assert all(parts.statuses(key)[-1] is JobStatus.COMPLETING for key in long)
        finally:
            answers.set()
        for key in long:
            await parts.until_status(key, JobStatus.COMPLETED)


async def test_a_server_stops_while_a_result_waits_for_the_store(start: Start) -> None:
    parts = start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with parts.serving():
            key = await launched(parts)
            parts.wavering.refuse(10**9)
            await parts.engine.exited(key, stdout=SHORT)
            await parts.until(lambda _: parts.wavering.refused > 2)
    restarted = start()
    async with restarted.serving():
        assert restarted.engine.recovered.keys() == {key}
        await restarted.engine.exited(key, stdout=SHORT)
        await restarted.until_status(key, JobStatus.COMPLETED)
