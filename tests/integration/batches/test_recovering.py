"""A restarted server takes up what an earlier one had claimed, and loses and repeats nothing."""

import dataclasses
import errno
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence

import pytest

from dshpc_server.domain import retry
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import port, records
from support import store_values
from support.batches_assembly import Assembly, job

Start = Callable[..., Assembly]
LONG = b"x" * 5000


async def claimed(parts: Assembly, count: int) -> list[AttemptKey]:
    """Claim jobs as a server does that dies before it tells its engine."""
    await parts.accept(*(job(n, n=n) for n in range(count)))
    claims = await parts.committer.write(lambda writer: writer.claim(store_values.take, count))
    return [claim.key for claim in claims.taken]


async def test_what_was_claimed_and_not_handed_over_is_handed_over_once(start: Start) -> None:
    before = start()
    async with before.storing():
        (key,) = await claimed(before, 1)
    parts = start()
    async with parts.serving():
        launch = await parts.engine.launched(key)
        assert launch.folder == parts.launcher.folder(key)
        await parts.engine.exited(key, stdout=b"done")
        await parts.until_status(key, JobStatus.COMPLETED)
    assert list(parts.engine.launches) == [key]
    assert not parts.engine.recovered


async def test_what_was_handed_over_is_the_engines_to_account_for(start: Start) -> None:
    before = start()
    async with before.storing():
        running, waiting = await claimed(before, 2)
        folder = before.launcher.folder(running)
        folder.mkdir(parents=True)
    parts = start()
    async with parts.serving():
        await parts.engine.launched(waiting)
        assert parts.engine.recovered == {running: folder}
        assert running not in parts.engine.launches
        await parts.engine.exited(running, 3)
        await parts.until_status(running, JobStatus.FAILED)
        assert parts.reason(running) == "Exit code 3"


async def test_what_ran_is_not_handed_over_again_though_its_folder_is_gone(start: Start) -> None:
    before = start()
    async with before.storing():
        (key,) = await claimed(before, 1)
        begun = records.Report(key=key, event=Event.STARTED, at=store_values.NOON)
        await before.committer.write(lambda writer: writer.record([begun]))
        assert not before.launcher.folder(key).exists()
    parts = start()
    async with parts.serving():
        await parts.until(lambda _: key in parts.engine.recovered)
        await parts.engine.lost(key, "its folder is gone")
        await parts.until_status(key, JobStatus.NODE_FAIL)
    assert key not in parts.engine.launches


async def test_what_goes_on_from_before_counts_against_the_capacity(start: Start) -> None:
    before = start(cpus=1)
    async with before.storing():
        (running,) = await claimed(before, 1)
        before.launcher.folder(running).mkdir(parents=True)
        (row,) = await before.accept(job(n=9))
        assert row.attempt is not None
        queued = row.attempt.key
    parts = start(cpus=1)
    async with parts.serving():
        await parts.engine.exited(running)  # the engine fails the test if it was given more before
        await parts.engine.launched(queued)
    assert list(parts.engine.launches) == [queued]


async def test_a_restart_in_the_middle_of_completing_takes_the_output_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    with monkeypatch.context() as disk:
        async with parts.serving():
            (row,) = await parts.accept(job(n=1))
            assert row.attempt is not None
            key = row.attempt.key
            await parts.engine.launched(key)
            disk.setattr(os, "fsync", no_room)
            await parts.engine.exited(key, stdout=LONG)
            await parts.until_status(key, JobStatus.COMPLETING)
    parts = start()
    async with parts.serving():
        assert parts.engine.recovered.keys() == {key}
        await parts.engine.exited(key, stdout=LONG)
        ended = await parts.until_status(key, JobStatus.COMPLETED)
    assert ended.started_at is not None
    assert parts.kept.is_intact(hashlib.sha256(LONG).hexdigest())


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, "no room")


async def test_an_end_of_an_earlier_attempt_does_not_end_the_next_one(start: Start) -> None:
    parts = start()
    async with parts.serving():
        (row,) = await parts.accept(job(n=1))
        assert row.attempt is not None
        first = row.attempt.key
        await parts.engine.launched(first)
        await parts.engine.exited(first, 1)
        await parts.until_status(first, JobStatus.FAILED)
        (row,) = await parts.accept(job(n=1))
        assert row.attempt is not None
        second = row.attempt.key
        assert second.number == 2
        await parts.engine.launched(second)
        await parts.engine.exited(first, 0, stdout=b"late")
        await parts.engine.exited(second, 0, stdout=b"in time")
        ended = await parts.until_status(second, JobStatus.COMPLETED)
    assert parts.engine.left_behind(first) != parts.engine.left_behind(second)
    assert ended.result is not None
    assert b"in time" in ended.result


async def test_what_was_taken_up_and_cannot_be_launched_is_barred_by_the_engine(
    start: Start,
) -> None:
    """Its first server may be slow, not dead, and hand it over after it was refused."""
    before = start()
    async with before.storing():
        file_hash = before.kept.put(b"data")
        await before.accept(job(method="count", inputs={"input": file_hash}))
        claims = await before.committer.write(lambda writer: writer.claim(store_values.take, 1))
        (key,) = [claim.key for claim in claims.taken]
        stored = before.kept.find(file_hash)
        assert stored is not None
        stored.unlink()
    parts = start(retries=retry.Retries(max_retries=3, first_seconds=0.01, last_seconds=0.01))
    async with parts.serving():
        await parts.until(lambda _: key in parts.engine.recovered)
        assert not parts.statuses(key)
        await parts.engine.lost(key, "it was never started")
        await parts.until_status(key, JobStatus.NODE_FAIL)
        again = dataclasses.replace(key, number=2)
        await parts.until_status(again, JobStatus.BOOT_FAIL)
        assert "is not stored" in parts.reason(again)
    assert again not in parts.engine.recovered
    assert not parts.engine.launches


async def test_a_folder_that_cannot_be_looked_at_is_the_engines_to_account_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = start()
    async with before.storing():
        (key,) = await claimed(before, 1)
    parts = start()
    folder, stat = parts.launcher.folder(key), os.stat

    def failing(path: pathlib.Path, **options: bool) -> os.stat_result:
        if path == folder:
            raise OSError(errno.EIO, "the disk fails")
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", failing)
    monkeypatch.setattr(os, "lstat", failing)
    async with parts.serving():
        assert parts.engine.recovered == {key: folder}
        await parts.engine.lost(key)
        await parts.until_status(key, JobStatus.NODE_FAIL)


async def test_what_ends_while_the_store_is_asked_what_is_ours_is_not_taken_up(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    async with parts.serving():
        (row,) = await parts.accept(job(n=1))
        assert row.attempt is not None
        key = row.attempt.key
        await parts.engine.launched(key)
        read = parts.committer.read

        async def slow(question: Callable[[port.Reader], Sequence[object]]) -> Sequence[object]:
            found = await read(question)
            await parts.engine.exited(key)
            await parts.until(lambda _: parts.active.get(key) is None)
            return found

        with monkeypatch.context() as reading:
            reading.setattr(parts.committer, "read", slow)
            await parts.dispatcher.check()
        assert not parts.active.keys
        assert not parts.engine.recovered
