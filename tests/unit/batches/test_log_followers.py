"""Following logs: everything until the end is recorded, and nothing left behind."""

import asyncio
import pathlib

import pytest

from dshpc_server import errors
from dshpc_server.domain.job import JobStatus
from support.log_reading import Logging, following, open_files


@pytest.fixture
def logging(tmp_path: pathlib.Path) -> Logging:
    return Logging(tmp_path)


async def test_a_follower_is_told_everything_until_the_end_is_recorded(logging: Logging) -> None:
    logging.change(JobStatus.PENDING)
    async with following(logging) as follower:
        await follower.watches()
        logging.change(JobStatus.CONFIGURING)
        logging.change(JobStatus.RUNNING)
        with logging.file().open("ab", buffering=0) as file:
            file.write(b"one ")
            await follower.has(b"one ")
            file.write(b"two ")
            await follower.has(b"one two ")
            logging.change(JobStatus.COMPLETING)
            file.write(b"last")
            logging.change(JobStatus.COMPLETED)
        told = await follower.end()
    assert (told.data, told.is_finished) == (b"one two last", True)


async def test_nothing_that_is_written_last_is_lost(logging: Logging) -> None:
    logging.change(JobStatus.RUNNING)
    path = logging.file()
    path.write_bytes(b"begin ")
    async with following(logging) as follower:
        await follower.has(b"begin ")
        with path.open("ab", buffering=0) as file:
            file.write(b"last words")
        logging.change(JobStatus.FAILED)
        told = await follower.end()
    assert (told.data, told.is_finished) == (b"begin last words", True)


async def test_a_follower_with_a_limit_ends_there(logging: Logging) -> None:
    logging.change(JobStatus.RUNNING)
    path = logging.file()
    path.write_bytes(b"12345")
    async with following(logging, tail_bytes=2, limit_bytes=4) as follower:
        await follower.has(b"45")
        path.write_bytes(b"123456789")
        told = await follower.end()
    assert (told.data, told.offset, told.is_finished) == (b"4567", 3, False)


async def test_who_follows_from_beyond_the_end_waits_until_the_log_gets_there(
    logging: Logging,
) -> None:
    logging.change(JobStatus.RUNNING)
    path = logging.file()
    path.write_bytes(b"12")
    async with following(logging, offset=4) as follower:
        await follower.watches()
        path.write_bytes(b"123456")
        await follower.has(b"56")
        logging.change(JobStatus.COMPLETED)
        assert (await follower.end()).is_finished


async def test_an_end_before_the_offset_is_reached_is_an_invalid_offset(logging: Logging) -> None:
    logging.change(JobStatus.RUNNING)
    logging.file().write_bytes(b"12")
    async with following(logging, offset=4) as follower:
        await follower.watches()
        logging.change(JobStatus.COMPLETED)
        with pytest.raises(errors.InvalidRequestError, match="beyond the end, 2"):
            await follower.end()


async def test_a_log_that_its_method_cuts_short_ends_with_the_attempt(logging: Logging) -> None:
    logging.change(JobStatus.RUNNING)
    logging.file().write_bytes(b"123456")
    async with following(logging) as follower:
        await follower.has(b"123456")
        logging.file().write_bytes(b"")
        logging.change(JobStatus.COMPLETED)
        told = await follower.end()
    assert (told.data, told.is_finished) == (b"123456", True)


async def test_a_follower_that_goes_away_leaves_nothing(logging: Logging) -> None:
    logging.change(JobStatus.RUNNING)
    logging.file().write_bytes(b"half")
    tasks = len(asyncio.all_tasks())
    for _ in range(3):
        async with following(logging) as follower:
            await follower.has(b"half")
            assert logging.watchers.watched_jobs == 1
    assert logging.watchers.watched_jobs == 0
    assert len(asyncio.all_tasks()) == tasks
    assert open_files(logging.file().parent) == []
