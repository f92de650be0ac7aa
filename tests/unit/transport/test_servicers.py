"""The servicers: every RPC has its method, and an answer keeps to the size that was asked for."""

import inspect
from typing import Any, cast

import hypothesis
import pytest
from google.protobuf import descriptor
from hypothesis import strategies as st

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import clock
from dshpc_server.batches import inlining, progress, request, simulation
from dshpc_server.domain.job import Outcome
from dshpc_server.store import records
from dshpc_server.transport import (
    batch_events,
    edge,
    encoder,
    pages,
    requests,
    resume_tokens,
    server,
)
from dshpc_server.transport.servicers import batch, file, job, method, simulate
from dshpc_server.transport.servicers import server as server_servicer
from support import batches_values as values
from support import methods_site, transport_values

SERVICERS: dict[str, type] = {
    "JobService": job.JobServicer,
    "BatchService": batch.BatchServicer,
    "FileService": file.FileServicer,
    "MethodService": method.MethodServicer,
    "ServerService": server_servicer.ServerServicer,
}
RPCS = [
    pytest.param(SERVICERS[name], rpc, id=f"{name}.{rpc.name}")
    for name, service in server.SERVICES.items()
    for rpc in service.methods
]


@pytest.mark.parametrize(("servicer", "rpc"), RPCS)
def test_every_rpc_has_a_method_that_takes_a_request_and_its_call(
    servicer: type, rpc: descriptor.MethodDescriptor
) -> None:
    where = simulate.Simulating if rpc.name.endswith("SimulateJobs") else servicer
    found = getattr(where, edge._snake_case(rpc.name))
    assert inspect.iscoroutinefunction(found)
    assert len(inspect.signature(found).parameters) == len(["self", "request", "call"])


def test_every_service_of_the_contract_is_served() -> None:
    assert server.SERVICES.keys() == SERVICERS.keys()


INLINING = inlining.Inlining(
    encoder=encoder.MultiJobResultEncoder(),
    library=cast("Any", None),
    inline_output_bytes=transport_values.LIMITS.inline_output_bytes,
)
ENCODE = INLINING.encoder(None)


def simulating(*, simulation: object = None, reader: object = None) -> simulate.Simulating:
    """What packs answers, and is asked for nothing else unless told."""
    return simulate.Simulating(
        simulation=cast("Any", simulation),
        reader=cast("Any", reader),
        inlining=INLINING,
        events=batch_events.EventSender(
            tokens=resume_tokens.ResumeTokens("d" * 32), clock=clock.SystemClock()
        ),
        committer=cast("Any", None),
        clock=clock.SystemClock(),
    )


def rows_of(sizes: list[int]) -> list[records.Row]:
    """Rows that echo so many bytes each."""
    rows: list[records.Row] = []
    for index, size in enumerate(sizes):
        head = types_pb2.MultiJobResult(index=index, config_id="x" * size).SerializeToString()
        rows.append(values.row(Outcome.SUBMITTED, values.attempt(index), index=index, head=head))
    return rows


def answer(sizes: list[int]) -> simulation.Answer:
    """An answer whose rows echo so many bytes each."""
    rows = rows_of(sizes)
    return simulation.Answer(
        batch_id="0" * 36,
        rows=rows,
        statistics=progress.BatchProgress(row.state for row in rows).statistics(),
    )


@hypothesis.given(st.lists(st.integers(0, 3000), min_size=1, max_size=20), st.integers(1, 20_000))
def test_an_answer_is_at_most_as_large_as_asked_or_has_one_row(
    sizes: list[int], max_bytes: int
) -> None:
    packed = simulating()._packed(answer(sizes), rows_of(sizes), ENCODE, max_bytes)
    read = job_service_pb2.SimulateJobsResponse.FromString(packed)
    told = len(read.results)
    assert [row.index for row in read.results] == list(range(told))
    assert len(packed) <= max_bytes or told == 1
    assert read.statistics.total_jobs == len(sizes)
    if told == len(sizes):
        assert not read.next_page_token
    else:
        asked = pages.batch_rows(read.batch_id)
        assert pages.index(read.next_page_token, *asked) == told


def test_many_small_rows_keep_to_the_size_too() -> None:
    packed = simulating()._packed(answer([0] * 3000), rows_of([0] * 3000), ENCODE, 256 * 1024)
    assert len(packed) <= 256 * 1024
    assert job_service_pb2.SimulateJobsResponse.FromString(packed).next_page_token


class SlowReader(requests.RequestReader):
    """Reads a batch in ten seconds of the caller's deadline."""

    def __init__(self, clock: methods_site.HandClock) -> None:
        super().__init__(transport_values.LIMITS)
        self._clock = clock

    def batch(
        self,
        asked: job_service_pb2.SimulateJobsRequest | job_service_pb2.StreamSimulateJobsRequest,
    ) -> request.BatchRequest:
        self._clock.advance(10)
        return super().batch(asked)


class Waiting:
    """A simulation that remembers how long it was to wait."""

    def __init__(self) -> None:
        self.waits: list[simulation.Wait] = []

    async def answer(self, _: request.BatchRequest, wait: simulation.Wait) -> simulation.Answer:
        self.waits.append(wait)
        return answer([1])


async def test_the_time_that_reading_takes_is_the_callers() -> None:
    hands = methods_site.HandClock()
    waiting = Waiting()
    servicer = simulating(simulation=waiting, reader=SlowReader(hands))

    class Call:
        """A call with a deadline 30 seconds from the beginning."""

        @property
        def seconds_left(self) -> float:
            return 30 - hands.monotonic()

    asked = job_service_pb2.SimulateJobsRequest(
        jobs=[types_pb2.JobConfig(method_name="hello")],
        wait=types_pb2.WaitPolicy(until=types_pb2.UNTIL_FINISHED),
    )
    await servicer.simulate_jobs(asked, cast("Any", Call()))
    assert [wait.timeout_seconds for wait in waiting.waits] == [30 - 10 - 0.5]
