"""Reading logs: any span of any size, while they grow and afterwards, and nothing but logs."""

import contextlib
import os
import pathlib
import tracemalloc

import pytest

from dshpc_server import errors
from dshpc_server.batches import logs
from dshpc_server.domain.job import JobStatus
from support import job_records
from support.log_reading import Logging, Told

TEXT = "one €\ntwo ü\nthree 𝄞\n".encode()


@pytest.fixture
def logging(tmp_path: pathlib.Path) -> Logging:
    return Logging(tmp_path)


@pytest.fixture
def ended(logging: Logging) -> Logging:
    """A job that has ended with TEXT in its log."""
    logging.change(JobStatus.COMPLETED)
    logging.file().write_bytes(TEXT)
    return logging


async def test_a_log_is_told_whole(ended: Logging) -> None:
    told = await ended.read()
    assert (told.data, told.offset, told.is_finished) == (TEXT, 0, True)
    assert len(told.parts) == 1


async def test_stdout_is_another_log(ended: Logging) -> None:
    ended.file(name="stdout").write_bytes(b"result")
    assert (await ended.read(log=logs.Log.STDOUT)).data == b"result"


@pytest.mark.parametrize("follow", [False, True])
async def test_a_reader_that_was_cut_goes_on_at_any_byte(ended: Logging, *, follow: bool) -> None:
    for cut in range(len(TEXT) + 1):
        first = await ended.read(limit_bytes=cut, follow=follow) if cut else Told()
        rest = await ended.read(offset=cut, follow=follow)
        assert first.data + rest.data == TEXT
        assert rest.offset == cut
        assert rest.is_finished
        if cut:
            assert first.is_finished == (cut == len(TEXT))


async def test_a_tail_is_the_end_whatever_character_it_cuts(ended: Logging) -> None:
    for length in range(1, len(TEXT) + 5):
        told = await ended.read(tail_bytes=length)
        assert told.data == TEXT[-length:]
        assert told.offset == max(0, len(TEXT) - length)
        assert told.is_finished


async def test_a_limit_counts_from_the_tail(ended: Logging) -> None:
    told = await ended.read(tail_bytes=10, limit_bytes=3)
    assert (told.data, told.is_finished) == (TEXT[-10:-7], False)


async def test_the_end_is_an_offset_and_what_lies_beyond_is_none(ended: Logging) -> None:
    told = await ended.read(offset=len(TEXT))
    assert (told.data, told.offset, told.is_finished) == (b"", len(TEXT), True)
    for follow in (False, True):
        with pytest.raises(errors.InvalidRequestError, match=f"beyond the end, {len(TEXT)}"):
            await ended.read(offset=len(TEXT) + 1, follow=follow)


async def test_an_empty_log_is_one_empty_part(ended: Logging) -> None:
    ended.file().write_bytes(b"")
    told = await ended.read()
    assert (told.data, told.is_finished, len(told.parts)) == (b"", True, 1)


async def test_a_long_log_takes_the_memory_of_a_part(ended: Logging) -> None:
    size = 20 * 1024 * 1024 + 7
    with ended.file().open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        seen = 0
        async with contextlib.aclosing(ended.parts()) as parts:
            async for part in parts:
                assert part.offset == seen
                seen += len(part.data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == size
    assert part.is_last
    assert peak < 8 * logs.READ_LOG_BYTES


async def test_the_log_of_an_earlier_attempt_is_told_by_its_number(logging: Logging) -> None:
    logging.change(JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED)
    for number in (1, 2, 3):
        logging.file(number).write_text(f"attempt {number}")
    for number in (1, 2):
        told = await logging.read(number, follow=True)
        assert (told.data.decode(), told.is_finished) == (f"attempt {number}", True)
        assert told.parts[0].attempt == number
    newest = await logging.read()
    assert (newest.data, newest.parts[0].attempt) == (b"attempt 3", 3)
    assert not newest.is_finished


async def test_what_is_not_known_is_not_found(ended: Logging) -> None:
    with pytest.raises(errors.NotFoundError, match=r"attempt '.*/2' not found"):
        await ended.read(2)
    ended.records.jobs.clear()
    with pytest.raises(errors.NotFoundError, match="job '"):
        await ended.read()
    assert ended.watchers.watched_jobs == 0


async def test_a_log_that_was_removed_is_not_found(ended: Logging) -> None:
    ended.file().unlink()
    for follow in (False, True):
        with pytest.raises(errors.NotFoundError, match=r"log 'stderr of .*/1' not found"):
            await ended.read(follow=follow)


async def test_what_was_cancelled_before_it_started_has_an_empty_log(logging: Logging) -> None:
    record = job_records.record(status=JobStatus.CANCELLED)
    never = job_records.never_started(record)
    logging.records.put(never)
    told = await logging.read()
    assert (told.data, told.is_finished) == (b"", True)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "socket"])
@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.FAILED])
async def test_what_a_method_put_in_the_place_of_its_log_is_no_log(
    logging: Logging, kind: str, status: JobStatus
) -> None:
    logging.change(status)
    path = logging.file()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/etc/passwd")
        case "folder":
            path.mkdir()
        case "socket":
            os.mknod(path, 0o140600)
    for follow in (False, True):
        with pytest.raises(errors.NotFoundError, match="log 'stderr of"):
            await logging.read(follow=follow)


async def test_a_disk_that_fails_is_not_the_logs_fault(
    ended: Logging, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(os, "open", fail)
        with pytest.raises(errors.UnavailableError, match="cannot be read now"):
            await ended.read()
    assert (await ended.read()).data == TEXT


async def test_without_follow_a_running_job_tells_what_is_there(logging: Logging) -> None:
    logging.change(JobStatus.RUNNING)
    told = await logging.read()
    assert (told.data, told.is_finished, len(told.parts)) == (b"", False, 1)
    logging.file().write_bytes(b"half")
    told = await logging.read()
    assert (told.data, told.is_finished, len(told.parts)) == (b"half", False, 1)
