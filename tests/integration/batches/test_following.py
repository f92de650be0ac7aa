"""A follower of a log over the wire: whatever becomes of it, it leaves nothing behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
import pytest

from dshpc.v1 import job_service_pb2, job_service_pb2_grpc
from dshpc_server.batches import logs
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.transport import edge, job_messages, server
from dshpc_server.transport.servicers import job as job_servicer
from support.batches_assembly import Assembly, job
from support.log_reading import open_files
from support.transport_edge import read_all, until

Start = Callable[..., Assembly]


class Served:
    """The parts of a server, an edge around them, and a client."""

    def __init__(self, parts: Assembly, around: edge.Edge, channel: grpc.aio.Channel) -> None:
        self.parts = parts
        self.edge = around
        self._stub: Any = job_service_pb2_grpc.JobServiceStub(channel)

    def follow(self, key: AttemptKey) -> Any:  # noqa: ANN401 - no type in grpc.aio's stubs
        request = job_service_pb2.ReadJobLogRequest(job_id=key.job_id, follow=True)
        return self._stub.ReadJobLog(request)

    async def nothing_is_left(self) -> None:
        await until(lambda: not any(self.edge.open_calls.values()))
        assert self.parts.watchers.watched_jobs == 0


@contextlib.asynccontextmanager
async def serving(parts: Assembly) -> AsyncIterator[Served]:
    nobody = cast("Any", None)
    servicer = job_servicer.JobServicer(
        simulating=nobody,
        polling=nobody,
        cancelling=nobody,
        logs=logs.Logs(
            committer=parts.committer, watchers=parts.watchers, folder=parts.launcher.folder
        ),
        committer=parts.committer,
        max_wait_seconds=60.0,
        messages=job_messages.JobMessages(engine_name="scripted", max_retries=3),
    )
    around = edge.Edge(
        write_stall_seconds=30.0, max_calls=100, max_streams=100, max_uploads=100, max_entries=1000
    )
    served = grpc.aio.server()
    handlers = around.service(server.SERVICES["JobService"], servicer)
    served.add_generic_rpc_handlers((handlers,))
    port = served.add_insecure_port("127.0.0.1:0")
    async with parts.serving():
        await served.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Served(parts, around, channel)
        finally:
            await served.stop(None)


async def running(parts: Assembly, log: bytes) -> AttemptKey:
    (row,) = await parts.accept(job(n=1))
    assert row.attempt is not None
    key = row.attempt.key
    await parts.engine.launched(key)
    await parts.engine.started(key)
    await parts.until_status(key, JobStatus.RUNNING)
    folder = parts.launcher.folder(key)
    folder.mkdir(parents=True)
    (folder / "stderr").write_bytes(log)
    return key


@pytest.mark.parametrize("ending", ["cancel", "drain", "end"])
async def test_followers_leave_no_task_watch_or_descriptor(start: Start, ending: str) -> None:
    async with serving(start()) as served:
        parts = served.parts
        key = await running(parts, b"half")
        for _ in range(2):
            warm = served.follow(key)
            assert (await warm.read()).data == b"half"
            warm.cancel()
            await served.nothing_is_left()
        tasks = len(asyncio.all_tasks())
        followers = [served.follow(key) for _ in range(20)]
        for follower in followers:
            assert (await follower.read()).data == b"half"
        assert parts.watchers.watched_jobs == 1
        match ending:
            case "cancel":
                for follower in followers:
                    follower.cancel()
            case "drain":
                served.edge.drain(short_too=False)
                for follower in followers:
                    with pytest.raises(grpc.aio.AioRpcError, match="stopping"):
                        await follower.read()
            case "end":
                await parts.engine.exited(key, 3, stderr=b"half and the rest")
                for follower in followers:
                    last = cast("list[Any]", await read_all(follower))
                    assert b"".join(part.data for part in last) == b" and the rest"
                    assert last[-1].finished
        await served.nothing_is_left()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert open_files(parts.launcher.folder(key)) == []
