"""SIGTERM under load: everybody is told, runs go on, and the next server takes their results."""

import asyncio
import pathlib
import signal
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2
from support import calls, live_server, site
from support import transport_edge as t

STREAMS = 100
POLLS = 20
SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """The test methods."""
    return site.write(tmp_path / "site")


class Waiting:
    """Everything that waits for one job: streams, long polls of both kinds, health watches."""

    def __init__(self, channel: grpc.aio.Channel, config: types_pb2.JobConfig, job_id: str) -> None:
        self._jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)
        self._health: Any = health_pb2_grpc.HealthStub(channel)
        self._config = config
        self._job_id = job_id
        self.streams: list[Any] = []
        self.polls: list[Any] = []
        self.watches: list[Any] = []

    async def begin(self) -> None:
        """Open all calls; they are in the server's hands then."""
        asked = job_service_pb2.StreamSimulateJobsRequest(jobs=[self._config])
        self.streams = [self._jobs.StreamSimulateJobs(asked) for _ in range(STREAMS)]
        for stream in self.streams:
            assert (await stream.read()).HasField("accepted")
        names = ("", "dshpc.engine", "dshpc.v1.JobService")
        asked_for = [health_pb2.HealthCheckRequest(service=name) for name in names]
        self.watches = [self._health.Watch(asked) for asked in asked_for]
        assert [await watch.read() for watch in self.watches] == [SERVING] * len(names)
        self.polls = [
            self._jobs.GetJob(self._poll()) if number % 2 else self._jobs.SimulateJobs(self._wait())
            for number in range(POLLS)
        ]
        # Calls of a connection are taken in their order: when this one is answered, they wait.
        await self._jobs.GetJob(job_service_pb2.GetJobRequest(job_id=self._job_id))
        assert not any(call.done() for call in (*self.streams, *self.polls, *self.watches))

    async def ends(self) -> list[grpc.aio.AioRpcError]:
        """Wait until every stream and poll has ended; how."""
        reading: list[Awaitable[object]] = [t.read_all(stream) for stream in self.streams]
        return list(await asyncio.gather(*map(t.error_of, (*reading, *self.polls))))

    async def heard(self) -> list[tuple[object, grpc.StatusCode]]:
        """What each watch told last, and how it ended."""
        told = [await watch.read() for watch in self.watches]
        codes = [(await t.error_of(watch.read())).code() for watch in self.watches]
        return list(zip(told, codes, strict=True))

    def _poll(self) -> job_service_pb2.GetJobRequest:
        asked = job_service_pb2.GetJobRequest(
            job_id=self._job_id, known_status=types_pb2.JOB_STATUS_RUNNING
        )
        asked.wait.FromSeconds(60)
        return asked

    def _wait(self) -> job_service_pb2.SimulateJobsRequest:
        return job_service_pb2.SimulateJobsRequest(jobs=[self._config], wait=calls.until_finished())


async def test_a_stop_tells_everybody_at_once_and_ends_no_run(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with live_server.as_process(tmp_path, methods_dir) as first:
        config, before = await asyncio.to_thread(_running, first, gate)
        async with grpc.aio.insecure_channel(first.address) as channel:
            waiting = Waiting(channel, config, before.job_id)
            await waiting.begin()
            first.process.send_signal(signal.SIGTERM)
            ends, heard = await asyncio.gather(waiting.ends(), waiting.heard())
        assert await asyncio.to_thread(first.stop) == 0
        assert len(ends) == STREAMS + POLLS
        assert {(end.code(), end.details()) for end in ends} == {
            (grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        }
        assert all(1 <= _retry_after_seconds(end) <= 5 for end in ends)
        assert heard == [(NOT_SERVING, grpc.StatusCode.UNAVAILABLE)] * len(heard)
        assert int(before.engine_job_id) in live_server.processes_of(first.data_dir)
        with live_server.as_process(tmp_path, methods_dir) as second:
            await asyncio.to_thread(_finish, second, gate, config)


async def test_a_stop_that_is_asked_for_while_calls_come_in_ends_each_of_them(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    with live_server.as_process(tmp_path, methods_dir) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            jobs: Any = job_service_pb2_grpc.JobServiceStub(channel)
            answered = asyncio.Semaphore(0)

            async def asking() -> grpc.StatusCode:
                while True:
                    try:
                        await jobs.ListJobs(job_service_pb2.ListJobsRequest(), timeout=60)
                    except grpc.aio.AioRpcError as error:
                        return error.code()
                    answered.release()

            askers = [asyncio.create_task(asking()) for _ in range(20)]
            for _ in range(100):
                await answered.acquire()
            server.process.send_signal(signal.SIGTERM)
            assert set(await asyncio.gather(*askers)) == {grpc.StatusCode.UNAVAILABLE}
        assert await asyncio.to_thread(server.stop) == 0


def _running(
    server: live_server.ServerProcess, gate: site.Gate
) -> tuple[types_pb2.JobConfig, job_service_pb2.Job]:
    """Have a job run that waits at the gate."""
    with grpc.insecure_channel(server.address) as channel:
        service = calls.Service(channel)
        config = calls.config("hold", service.upload(gate.content))
        job_id = service.simulate(config).results[0].job_id
        return config, service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)


def _finish(
    server: live_server.ServerProcess, gate: site.Gate, config: types_pb2.JobConfig
) -> None:
    """Let the job go on; its end and its output come to this server, in its first attempt."""
    with grpc.insecure_channel(server.address) as channel:
        service = calls.Service(channel)
        gate.open(b"went on\n")
        finished = service.run(config)
        assert (finished.output, finished.attempt) == ("went on\n", 1)


def _retry_after_seconds(end: grpc.aio.AioRpcError) -> float:
    (packed,) = t.details_of(end).details
    advice = error_details_pb2.RetryInfo()
    assert packed.Unpack(advice)
    seconds: float = advice.retry_delay.ToTimedelta().total_seconds()
    return seconds
