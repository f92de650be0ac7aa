"""A disk that does not tell what is there: nothing is missing, nothing is lost, others go on."""

import hashlib
from collections.abc import Callable

import pytest
import structlog

from dshpc_server import disk, errors
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.store import records
from support.batches_assembly import INLINE_BYTES, Assembly, job

Start = Callable[..., Assembly]
LONG = b"a long output\n" * INLINE_BYTES
LONG_HASH = hashlib.sha256(LONG).hexdigest()


class Silence:
    """Says nothing about content, while a test wants that."""

    def __init__(self, parts: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashes: set[str] = set()
        self._has = parts.kept._stored.has
        monkeypatch.setattr(parts.kept._stored, "has", self._asked)

    def _asked(self, file_hash: str) -> bool:
        if file_hash in self.hashes:
            raise disk.no_answer("Input/output error")
        return self._has(file_hash)


def key_of(row: records.Row) -> AttemptKey:
    assert row.attempt is not None
    return row.attempt.key


async def test_an_input_that_the_disk_does_not_tell_of_is_waited_for_and_holds_up_no_other(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start(cpus=2)
    silence = Silence(parts, monkeypatch)
    silent, other = parts.kept.put(b"silent"), parts.kept.put(b"other")
    with structlog.testing.capture_logs() as logs:
        async with parts.serving():
            (before,) = await parts.accept(job(method="count", inputs={"input": silent}, n=0))
            await parts.engine.launched(key_of(before))
            await parts.engine.exited(key_of(before))
            rows = [(silent, 1), (other, 2), (other, 3)]
            accepted = await accept_then_fall_silent(parts, silence, silent, rows)
            waiting, *others = map(key_of, accepted)
            for each in others:  # one after the other: the one that waits has its place
                launch = await parts.engine.launched(each)
                assert launch.inputs["input"].read_bytes() == b"other"
                await parts.engine.exited(each)
                await parts.until_status(each, JobStatus.COMPLETED)
            assert parts.statuses(waiting)[-1] is JobStatus.CONFIGURING
            silence.hashes.clear()
            launch = await parts.engine.launched(waiting)
            assert launch.inputs["input"].read_bytes() == b"silent"
            await parts.engine.exited(waiting)
            ended = await parts.until_status(waiting, JobStatus.COMPLETED)
    assert (ended.key.number, ended.retries) == (1, 0)
    told = [each for each in logs if each["event"].startswith("launch.")]
    assert [each["event"] for each in told] == ["launch.waits", "launch.goes_on"]
    assert told[0]["job_id"] == waiting.job_id
    assert told[0]["reason"] == "the disk does not answer: Input/output error"


async def accept_then_fall_silent(
    parts: Assembly, silence: Silence, silent: str, rows: list[tuple[str, int]]
) -> list[records.Row]:
    parts.room.is_there = False  # until the disk has fallen silent
    jobs = [
        job(index, method="count", inputs={"input": file_hash}, n=n)
        for index, (file_hash, n) in enumerate(rows)
    ]
    accepted = await parts.accept(*jobs)
    silence.hashes.add(silent)
    parts.room.is_there = True
    parts.dispatcher.wake()
    return list(accepted)


async def test_a_job_whose_input_the_disk_does_not_tell_of_can_be_cancelled(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    silence = Silence(parts, monkeypatch)
    silent = parts.kept.put(b"silent")
    async with parts.serving():
        (row,) = await accept_then_fall_silent(parts, silence, silent, [(silent, 1)])
        await parts.until_status(key_of(row), JobStatus.CONFIGURING)
        record = await parts.cancelling.cancel(key_of(row).job_id, "no more", wait_seconds=30)
        assert record.newest.attempt.status is JobStatus.CANCELLED
    assert not parts.engine.launches


async def test_no_row_is_rejected_for_a_file_that_the_disk_does_not_tell_of(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    silence = Silence(parts, monkeypatch)
    silent = parts.kept.put(b"silent")
    asked = [
        job(0, n=0),
        job(1, method="count", inputs={"input": silent}),
        job(2, method="count", inputs={"input": "0" * 64}),
    ]
    async with parts.storing():
        silence.hashes.add(silent)
        with pytest.raises(errors.NoAnswerError):
            await parts.accept(*asked)
        assert parts.changes == []
        silence.hashes.clear()
        rows = await parts.accept(*asked)
    outcomes = [row.outcome for row in rows]
    assert outcomes == [Outcome.SUBMITTED, Outcome.SUBMITTED, Outcome.REJECTED]


async def test_no_output_counts_as_lost_that_the_disk_does_not_tell_of(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = start()
    silence = Silence(parts, monkeypatch)
    async with parts.serving():
        (first,) = await parts.accept(job(n=1))
        await parts.engine.launched(key_of(first))
        await parts.engine.exited(key_of(first), stdout=LONG)
        await parts.until_status(key_of(first), JobStatus.COMPLETED)
        silence.hashes.add(LONG_HASH)
        with pytest.raises(errors.NoAnswerError):
            await parts.accept(job(n=1))
        with pytest.raises(errors.NoAnswerError):
            await parts.library.record(LONG_HASH)
        silence.hashes.clear()
        (again,) = await parts.accept(job(n=1))
    assert again.outcome is Outcome.FOUND_COMPLETED
    assert key_of(again) == key_of(first)
    assert list(parts.engine.launches) == [key_of(first)]
