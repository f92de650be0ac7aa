"""A call that nobody waits for any more is gone from the server, however it was left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from dshpc.client import AsyncClient, Client
from dshpc.v1 import job_service_pb2, types_pb2
from support.fake_service import FakeService

DEADLINE_SECONDS = 30
JOB = "a" * 64
CONFIGS = [types_pb2.JobConfig(method_name="count_lines")] * 2


@pytest.fixture
async def asking(service: FakeService) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(service.target) as client:
        yield client


async def ended(service: FakeService) -> bool:
    return await asyncio.to_thread(service.all_calls_ended, DEADLINE_SECONDS)


def test_dropping_a_stream_ends_its_call(service: FakeService) -> None:
    service.holds_after = 1
    with Client(service.target) as client:
        for _ in client.stream(CONFIGS):
            break
        assert service.all_calls_ended(DEADLINE_SECONDS)

        batch = client.run_each(CONFIGS)
        assert next(batch).index == 0
        del batch
        assert service.all_calls_ended(DEADLINE_SECONDS)


def test_a_consumer_that_fails_ends_the_call(service: FakeService) -> None:
    def first_index_divided(client: Client) -> int:
        with client.run_each(CONFIGS) as batch:
            return 1 // next(batch).index

    service.holds_after = 1
    with Client(service.target) as client:
        with pytest.raises(ZeroDivisionError):
            first_index_divided(client)
        assert service.all_calls_ended(DEADLINE_SECONDS)


async def test_dropping_an_async_stream_ends_its_call(
    service: FakeService, asking: AsyncClient
) -> None:
    service.holds_after = 1
    async for _ in asking.stream(CONFIGS):
        break
    assert await ended(service)

    batch = asking.run_each(CONFIGS)
    assert (await anext(batch)).index == 0
    del batch
    assert await ended(service)


async def test_closing_an_async_stream_ends_its_call(
    service: FakeService, asking: AsyncClient
) -> None:
    service.holds_after = 1
    async with contextlib.aclosing(asking.stream(CONFIGS)) as events:
        assert (await anext(events)).HasField("accepted")
    assert await ended(service)

    async with asking.run_each(CONFIGS) as batch:
        assert (await anext(batch)).index == 0
    assert await ended(service)


async def test_cancelling_a_task_ends_what_it_waits_for(
    service: FakeService, asking: AsyncClient
) -> None:
    service.holds_after = 0
    seen: list[job_service_pb2.StreamSimulateJobsResponse] = []
    accepted = asyncio.Event()

    async def follow() -> None:
        async for event in asking.stream(CONFIGS):
            seen.append(event)
            accepted.set()

    task = asyncio.create_task(follow())
    await asyncio.wait_for(accepted.wait(), DEADLINE_SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await ended(service)
    assert len(seen) == 1


async def test_cancelling_a_task_ends_a_small_call(
    service: FakeService, asking: AsyncClient
) -> None:
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB)
    service.holds_jobs = True
    task = asyncio.create_task(asking.job(JOB, wait_seconds=1000))
    await asyncio.to_thread(service.wait_for_call, "GetJob", DEADLINE_SECONDS)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await ended(service)
