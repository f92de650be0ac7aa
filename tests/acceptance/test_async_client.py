"""The asyncio client against the real server: what only asyncio has."""

import asyncio
import pathlib
from collections.abc import AsyncIterator

import pytest

from dshpc.client import AsyncClient
from dshpc.v1 import types_pb2
from support import calls, site

SECONDS = 60


@pytest.fixture
async def client(server_process: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server_process) as client:
        yield client


async def test_many_tasks_share_a_client(client: AsyncClient) -> None:
    file_hash = await client.upload_bytes(b"shared\n")

    async def output(number: int) -> str:
        config = calls.config("parameters", file_hash, {"shared": number % 4})
        async with client.run_each([config]) as batch:
            return (await anext(batch)).output

    outputs = await asyncio.wait_for(
        asyncio.gather(*(output(number) for number in range(32))), SECONDS
    )

    assert set(outputs) == {f'{{"shared":{number}}}' for number in range(4)}


async def test_the_loop_goes_on_while_files_are_read_and_written(
    client: AsyncClient, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(range(256)) * 80_000)
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turner = asyncio.create_task(turning())
    file_hash = await client.upload(tmp_path / "large")
    before = turns
    await client.download(file_hash, tmp_path / "again")
    turner.cancel()

    assert before > 20  # once a chunk, at the least
    assert turns > before + 20
    assert (tmp_path / "again").read_bytes() == (tmp_path / "large").read_bytes()


async def test_a_task_that_is_cancelled_leaves_the_job_running(
    client: AsyncClient, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", await client.upload_bytes(gate.content))
    (row,) = (await client.run([config])).results

    for waiting in (_events(client, config), client.job(row.job_id, wait_seconds=1000)):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.5)

    await asyncio.to_thread(gate.open)
    seen = [job.status async for job in client.watch(row.job_id)]
    assert seen[-1] == types_pb2.JOB_STATUS_COMPLETED


async def test_a_log_and_a_watch_are_followed_while_the_job_runs(
    client: AsyncClient, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", await client.upload_bytes(gate.content))
    (row,) = (await client.run([config])).results

    async def followed() -> bytes:
        return b"".join([part.data async for part in client.log(row.job_id, follow=True)])

    async def watched() -> list[types_pb2.JobStatus.ValueType]:
        seen = []
        async for job in client.watch(row.job_id):
            seen.append(job.status)
            if job.status == types_pb2.JOB_STATUS_RUNNING:
                await asyncio.to_thread(gate.open)
        return seen

    log, seen = await asyncio.wait_for(asyncio.gather(followed(), watched()), SECONDS)
    assert log == b""
    assert seen[-1] == types_pb2.JOB_STATUS_COMPLETED


async def _events(client: AsyncClient, config: types_pb2.JobConfig) -> None:
    async for _ in client.stream([config]):
        pass
