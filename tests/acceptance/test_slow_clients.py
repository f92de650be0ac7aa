"""Clients that stop sending or reading cost little, and nobody else notices them."""

import asyncio
import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from dshpc.v1 import (
    file_service_pb2,
    file_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
    types_pb2,
)
from support import (
    calls,
    hostile_client,
    hostile_disk,
    hostile_rpcs,
    hostile_server,
    live_server,
    site,
)

UPLOADS = 50
MAX_GROWTH_KIB = 100 * 1024
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
CHUNK = b"x" * (1 << 20)
MANY_BYTES = 8 << 20
"""More than all windows and buffers between a server and a client."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A server process."""

    pid: int
    address: str

    def resident_kib(self) -> int:
        """Memory it uses now."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1])


@contextlib.contextmanager
def on_a_hanging_disk(folder: pathlib.Path) -> Iterator[Process]:
    """Run a server whose uploads cannot be written until the end."""
    gate = folder / "gate"
    words = (hostile_disk.__file__, gate, "serve", "--listen=127.0.0.1:0", "--slots=2")
    folders = (f"--data-dir={folder / 'data'}", f"--methods-dir={site.write(folder)}")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words, *folders], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().removeprefix("listening on ").strip()
        assert address, (folder / "server.log").read_text()
        yield Process(pid=process.pid, address=address)
    finally:
        gate.touch()
        process.terminate()
        process.wait(live_server.STOP_SECONDS)
        process.stdout.close()
        live_server.wait_until_gone(folder / "data")


class Uploads:
    """Stalled uploads on one connection: each sends as much as it is let."""

    def __init__(self, address: str, parts: int) -> None:
        self._channel = grpc.insecure_channel(address)
        self._stub = file_service_pb2_grpc.FileServiceStub(self._channel)
        self._ended = threading.Event()
        self._parts = parts
        self.sent = 0
        self.calls = [self._stub.UploadFile.future(self._sending(n)) for n in range(UPLOADS)]

    def _sending(self, number: int) -> Iterator[file_service_pb2.UploadFileRequest]:
        header = file_service_pb2.UploadHeader(
            file_hash=site.hash_of(str(number).encode()), size_bytes=1 << 30
        )
        yield file_service_pb2.UploadFileRequest(header=header)
        for _ in range(self._parts):
            self.sent += 1
            yield file_service_pb2.UploadFileRequest(chunk=CHUNK)
        self._ended.wait()

    def wait_until_stalled(self) -> None:
        """Wait until nothing more is let through."""
        seen = [-1] * 25  # looks, 20 ms apart

        def is_still() -> bool:
            seen.append(self.sent)
            return len(set(seen[-25:])) == 1

        live_server.wait_for(is_still, "the uploads to stall")

    def end(self) -> None:
        """Let go."""
        self._ended.set()
        for call in self.calls:
            call.cancel()
        self._channel.close()


@pytest.mark.parametrize("parts", [0, 64], ids=["header then silence", "all they may"])
def test_stalled_uploads_cost_little_memory_and_others_are_answered(
    tmp_path: pathlib.Path, parts: int
) -> None:
    with on_a_hanging_disk(tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        innocent = server_service_pb2_grpc.ServerServiceStub(channel)
        innocent.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=30)
        before = server.resident_kib()
        uploads = Uploads(server.address, parts)
        try:
            uploads.wait_until_stalled()
            assert uploads.sent >= min(parts, 1) * UPLOADS
            growth = server.resident_kib() - before
            assert growth < MAX_GROWTH_KIB, f"{growth} KiB"
            assert not any(call.done() for call in uploads.calls)
            innocent.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=30)
        finally:
            uploads.end()


class Reader:
    """A server with much to read, and a client of it."""

    def __init__(self, server: hostile_server.Inside, channel: Any) -> None:  # noqa: ANN401 - asyncio or not
        self.server = server
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)
        self.files: Any = file_service_pb2_grpc.FileServiceStub(channel)
        self.file_hash = self.noisy_id = ""

    async def prepare(self) -> None:
        """Have a long file, a long output and a long log."""
        content = b"y" * MANY_BYTES
        short = b"z" * 60_000
        for each in (content, short):
            await self.files.UploadFile(calls.upload_parts(site.hash_of(each), each))
        self.file_hash = site.hash_of(content)
        self.config = calls.config("echo", site.hash_of(short))
        asked = job_service_pb2.SimulateJobsRequest(
            jobs=[self.config, calls.config("noisy")], wait=calls.until_finished()
        )
        answer = await self.jobs.SimulateJobs(asked)
        assert all(row.new_status == types_pb2.JOB_STATUS_COMPLETED for row in answer.results)
        self.noisy_id = answer.results[1].job_id

    def begin(self, kind: str) -> Any:  # noqa: ANN401 - no type in grpc.aio's stubs
        if kind == "DownloadFile":
            asked = file_service_pb2.DownloadFileRequest(file_hash=self.file_hash)
            return self.files.DownloadFile(asked)
        if kind == "ReadJobLog":
            return self.jobs.ReadJobLog(job_service_pb2.ReadJobLogRequest(job_id=self.noisy_id))
        rows = [self.config] * (MANY_BYTES // 60_000)
        return self.jobs.StreamSimulateJobs(job_service_pb2.StreamSimulateJobsRequest(jobs=rows))


@pytest.fixture
async def reader(tmp_path: pathlib.Path) -> AsyncIterator[Reader]:
    methods_dir = site.write(tmp_path)
    noise = f"head -c {MANY_BYTES} /dev/zero >&2"
    site.install(methods_dir, "noisy", noise, inputs=[])
    settings = live_server.settings(tmp_path, methods_dir, write_stall_seconds=0.5)
    async with (
        hostile_server.inside(settings) as server,
        server.channel(hostile_client.STEADY_WINDOWS) as channel,
    ):
        made = Reader(server, channel)
        await made.prepare()
        yield made


async def received(call: Any) -> int:  # noqa: ANN401 - no type in grpc.aio's stubs
    """Read a stream to its end; the bytes that came."""
    size = 0
    while (answer := await call.read()) is not grpc.aio.EOF:
        size += answer.ByteSize()
    return size


@pytest.mark.parametrize("kind", ["DownloadFile", "ReadJobLog", "StreamSimulateJobs"])
async def test_a_reader_that_stops_is_let_go_and_others_are_not(reader: Reader, kind: str) -> None:
    stalled = reader.begin(kind)
    await stalled.read()
    async with asyncio.timeout(hostile_server.SECONDS):
        whole = await received(reader.begin(kind))
    server = reader.server
    await hostile_server.until(lambda: server.edge.open_calls["streams"] == 0, server.leavings)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await received(stalled)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "has read nothing" in str(caught.value.details())
    assert await received(reader.begin(kind)) == pytest.approx(whole, rel=0.01)
    assert whole > MANY_BYTES
    await hostile_server.until(lambda: not any(server.edge.open_calls.values()), server.leavings)
    assert server.watchers.watched_jobs == 0


async def test_thousands_of_idle_streams_are_refused_and_unary_calls_answered(
    tmp_path: pathlib.Path,
) -> None:
    settings = live_server.settings(tmp_path, site.write(tmp_path), max_streams=100)
    async with hostile_server.inside(settings) as server, server.channel() as channel:
        info = server_service_pb2_grpc.ServerServiceStub(channel)
        before = server.leavings()
        watching: Any = channel.unary_stream(hostile_rpcs.BY_NAME["Watch"].path)
        watches = [watching(b"") for _ in range(3000)]
        firsts = await asyncio.gather(*(each.read() for each in watches), return_exceptions=True)
        refused = [each for each in firsts if isinstance(each, grpc.aio.AioRpcError)]
        # Streams that one connection may not even open are refused by HTTP/2, to be tried again.
        told = {str(each.details()) for each in refused if each.code() is not UNAVAILABLE}
        assert told == {"max_streams: 101 is over the limit of 100"}
        assert {each.code() for each in refused} <= {
            UNAVAILABLE,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }
        assert len(refused) == 2900
        answer: Any = info.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=30)
        assert (await answer).limits.max_streams == 100
        for each in watches:
            each.cancel()
        await hostile_server.until(lambda: server.leavings().calls == before.calls, server.leavings)
        await hostile_server.until(lambda: server.leavings().tasks <= before.tasks, server.leavings)


async def test_all_streams_of_a_server_on_one_connection_leave_room_for_unary_calls(
    tmp_path: pathlib.Path,
) -> None:
    settings = live_server.settings(tmp_path, site.write(tmp_path))
    async with hostile_server.inside(settings) as server, server.channel() as channel:
        watching: Any = channel.unary_stream(hostile_rpcs.BY_NAME["Watch"].path)
        watches = [watching(b"") for _ in range(settings.max_streams)]
        await asyncio.gather(*(each.read() for each in watches))
        assert server.edge.open_calls["streams"] == settings.max_streams
        info = server_service_pb2_grpc.ServerServiceStub(channel)
        answer: Any = info.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=30)
        assert (await answer).version
        for each in watches:
            each.cancel()


async def test_calls_opened_and_reset_in_a_hurry_leave_nothing(tmp_path: pathlib.Path) -> None:
    settings = live_server.settings(tmp_path, site.write(tmp_path))
    async with hostile_server.inside(settings) as server, server.channel() as channel:
        jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)
        before = server.leavings()
        for _ in range(20):
            hurried = [
                jobs.StreamSimulateJobs(
                    job_service_pb2.StreamSimulateJobsRequest(jobs=[calls.config("nope")])
                )
                for _ in range(100)
            ]
            await asyncio.sleep(0)
            for each in hurried:
                each.cancel()
        await hostile_server.until(lambda: server.leavings().tasks <= before.tasks, server.leavings)
        assert server.leavings().calls == before.calls
        assert server.leavings().watches == 0
