"""A client that is killed in the middle of a call leaves nothing in the server."""

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dshpc.v1 import file_service_pb2, file_service_pb2_grpc, job_service_pb2, job_service_pb2_grpc
from support import calls, hostile_client, hostile_server, live_server, site

CONTENT = b"d" * (8 << 20)
UPLOADED = "e" * 64
SCRIPT = str(pathlib.Path(hostile_client.__file__))


class Setting:
    """A server with a job that is held, and a file."""

    def __init__(self, server: hostile_server.Inside, folder: pathlib.Path, channel: Any) -> None:  # noqa: ANN401 - asyncio or not
        self.server = server
        self.quiet, self.aloud = site.Gate(folder / "quiet"), site.Gate(folder / "aloud")
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)
        self.files: Any = file_service_pb2_grpc.FileServiceStub(channel)
        self.about: dict[str, str] = {}

    async def prepare(self) -> None:
        """Have a job running and a file stored."""
        held = await self._upload(self.quiet.content)
        aloud = await self._upload(self.aloud.content)
        configs = [calls.config("hold", held), calls.config("hold_aloud", aloud)]
        answer = await self.jobs.SimulateJobs(job_service_pb2.SimulateJobsRequest(jobs=configs))
        job_id = answer.results[1].job_id
        self.about = {
            "unary wait": held,
            "server stream": held,
            "upload": UPLOADED,
            "download": await self._upload(CONTENT),
            "long poll": job_id,
            "log": job_id,
        }

    async def _upload(self, content: bytes) -> str:
        file_hash = site.hash_of(content)
        stored = await self.files.UploadFile(calls.upload_parts(file_hash, content))
        assert stored.file.size_bytes == len(content)
        return file_hash


@pytest.fixture
async def setting(tmp_path: pathlib.Path) -> AsyncIterator[Setting]:
    methods_dir = site.write(tmp_path)
    site.install(methods_dir, "hold_aloud", 'echo begun >&2; cat -- "$(cat -- "$1")"')
    settings = live_server.settings(tmp_path, methods_dir, slots=2, upload_stall_seconds=60)
    async with hostile_server.inside(settings) as server, server.channel() as channel:
        made = Setting(server, tmp_path, channel)
        await made.prepare()
        try:
            yield made
        finally:
            for gate in (made.quiet, made.aloud):
                await asyncio.to_thread(gate.open)


@contextlib.asynccontextmanager
async def client(setting: Setting, kind: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A client process in the middle of a call."""
    words = (SCRIPT, setting.server.address, kind, setting.about.get(kind, ""))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(hostile_server.SECONDS):
            assert (await process.stdout.readline()).decode().strip() == hostile_client.MIDDLE
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("kind", hostile_client.CALLS)
async def test_a_client_killed_in_the_middle_of_a_call_leaves_nothing(
    setting: Setting, kind: str
) -> None:
    server = setting.server
    async with client(setting, kind):
        pass  # once before: what the first call of a kind makes for good is not left by a kill
    await hostile_server.until(lambda: not any(server.edge.open_calls.values()), server.leavings)
    before = server.leavings()
    async with client(setting, kind) as process:
        await hostile_server.until(lambda: any(server.edge.open_calls.values()), server.leavings)
        process.kill()
        await process.wait()
    await hostile_server.until(lambda: _fits(server.leavings(), before), server.leavings)
    incoming = {path.name for path in (server.data_dir / "files" / "incoming").iterdir()}
    assert incoming <= ({UPLOADED} if kind == "upload" else set())


def _fits(now: hostile_server.Leavings, before: hostile_server.Leavings) -> bool:
    return (
        now.calls == before.calls
        and now.health_watches == before.health_watches
        and now.watches == before.watches
        and now.tasks <= before.tasks
        and now.descriptors <= before.descriptors
    )


async def test_many_clients_killed_at_once_leave_nothing(setting: Setting) -> None:
    server = setting.server
    async with client(setting, "download"):
        pass
    await hostile_server.until(lambda: not any(server.edge.open_calls.values()), server.leavings)
    before = server.leavings()
    async with contextlib.AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(client(setting, kind)) for kind in hostile_client.CALLS
        ]
        for process in processes:
            process.kill()
    await hostile_server.until(lambda: _fits(server.leavings(), before), server.leavings)
    async with server.channel() as channel:
        files: Any = file_service_pb2_grpc.FileServiceStub(channel)
        asked = file_service_pb2.DownloadFileRequest(file_hash=setting.about["download"])
        got = [part.chunk async for part in files.DownloadFile(asked)]
    assert b"".join(got) == CONTENT
