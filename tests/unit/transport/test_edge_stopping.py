"""What a stop ends at once (streams, uploads, waits), and what it leaves its time: short calls."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from dshpc.v1 import file_service_pb2, job_service_pb2, job_service_pb2_grpc, types_pb2
from dshpc_server.transport import draining, edge
from support import transport_edge as t

UNTIL_FINISHED = types_pb2.WaitPolicy(until=types_pb2.UNTIL_FINISHED)
LONG = duration_pb2.Duration(seconds=60)


class Handler:
    """Counts who has come in, and keeps them until they are let go."""

    def __init__(self, answer: object) -> None:
        self.entered = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self._answer = answer

    async def __call__(self, *_: object) -> Any:  # noqa: ANN401 - whatever the test wants
        self.entered.release()
        await self.release.wait()
        return self._answer


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (job_service_pb2.SimulateJobsRequest(), False),
        (job_service_pb2.SimulateJobsRequest(wait=types_pb2.WaitPolicy()), False),
        (
            job_service_pb2.SimulateJobsRequest(
                wait=types_pb2.WaitPolicy(until=types_pb2.UNTIL_RESOLVED, timeout=LONG)
            ),
            False,
        ),
        (job_service_pb2.SimulateJobsRequest(wait=UNTIL_FINISHED), True),
        (job_service_pb2.GetJobRequest(job_id="a"), False),
        (job_service_pb2.GetJobRequest(job_id="a", wait=LONG), True),
        (job_service_pb2.CancelJobRequest(job_id="a"), False),
        (file_service_pb2.FindMissingFilesRequest(), False),
    ],
)
def test_a_call_waits_when_its_request_says_so(asked: Any, *, waits: bool) -> None:  # noqa: ANN401 - any message
    assert draining.waits(asked) is waits


async def test_waits_end_at_once_with_advice_and_short_calls_go_on() -> None:
    polls = Handler(job_service_pb2.GetJobResponse())
    batches = Handler(job_service_pb2.SimulateJobsResponse(batch_id="done"))
    async with t.serving("JobService", get_job=polls, simulate_jobs=batches) as served:
        stub: Any = job_service_pb2_grpc.JobServiceStub(served.channel)
        waiting = [
            stub.GetJob(job_service_pb2.GetJobRequest(job_id="a", wait=LONG)),
            stub.SimulateJobs(job_service_pb2.SimulateJobsRequest(wait=UNTIL_FINISHED)),
        ]
        short = stub.SimulateJobs(job_service_pb2.SimulateJobsRequest())
        for handler, count in ((polls, 1), (batches, 2)):
            for _ in range(count):
                await handler.entered.acquire()
        served.edge.drain(short_too=False)
        ends = [await t.error_of(call) for call in waiting]
        late = await t.error_of(stub.GetJob(job_service_pb2.GetJobRequest(job_id="a", wait=LONG)))
        batches.release.set()
        assert (await short).batch_id == "done"
        await served.all_ended()
    for end in (*ends, late):
        assert (end.code(), end.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "the server is stopping",
        )
        assert 1 <= _retry_after(end).total_seconds() <= 5


async def test_uploads_end_at_once_and_none_begins_any_more() -> None:
    entered = asyncio.Event()

    async def upload(parts: AsyncIterator[object], _: edge.Call) -> None:
        entered.set()
        async for _part in parts:
            pass

    async with t.serving(upload_file=upload) as served:
        call = served.files.UploadFile()
        await entered.wait()
        served.edge.drain(short_too=False)
        ends = [await t.error_of(call), await t.error_of(served.files.UploadFile())]
        await served.all_ended()
    assert {end.details() for end in ends} == {"the server is stopping"}
    assert all(_retry_after(end) for end in ends)


async def test_a_call_that_is_tidying_up_is_not_disturbed_by_draining_again() -> None:
    entered, tidied, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stream(*_: object) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()
            tidied.set()

    async with t.serving(download_file=stream) as served:
        call = served.files.DownloadFile(t.download())
        await entered.wait()
        for _ in range(2):
            served.edge.drain(short_too=False)
            await asyncio.sleep(0)
        release.set()
        end = await t.error_of(call.read())
        await served.all_ended()
    assert tidied.is_set()
    assert end.details() == "the server is stopping"


def _retry_after(error: grpc.aio.AioRpcError) -> datetime.timedelta:
    (packed,) = t.details_of(error).details
    advice = error_details_pb2.RetryInfo()
    assert packed.Unpack(advice)
    delay: datetime.timedelta = advice.retry_delay.ToTimedelta()
    return delay
