"""Results that a client reads from one stream, by kind of client: rate, and CPU time for each.

The server is a process of its own that sends prebuilt bytes as fast as it can. It is an asyncio
server and no faster than some of the clients, so the CPU time that a client spends on a result says
more than the rate. Beside the default of gRPC stand the channel as the client opens it (the thread
that iterates reads the stream), `Client.stream`, `Client.run_each` over results in groups, and the
same for asyncio. Only ratios within one run mean something on a shared machine.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import time
from collections.abc import AsyncIterator, Callable, Iterator

import grpc
import grpc.aio

from dshpc import client
from dshpc.client import channel
from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2

RESULTS = 20_000
GROUP = 100
REPEATS = 3
CONFIGS = (types_pb2.JobConfig(method_name="bench"),)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=RESULTS)
    count: int = parser.parse_args().results
    with _server(count) as target:
        kinds: dict[str, Callable[[], int]] = {
            "gRPC's default": lambda: _with_stub(grpc.insecure_channel(target)),
            "read by the caller": lambda: _with_stub(channel.connect(target)),
            "Client.stream": lambda: _with_client(target),
            "Client.run_each, in groups": lambda: _each(target),
            "AsyncClient.stream": lambda: asyncio.run(_with_async_client(target)),
            "AsyncClient.run_each, in groups": lambda: asyncio.run(_each_async(target)),
        }
        taken = {name: _best(read, count) for name, read in kinds.items()}
    floor = taken["gRPC's default"]
    for name, best in taken.items():
        print(
            f"{name:<32} {count / best.seconds:12,.0f} results/s"
            f" {floor.seconds / best.seconds:6.1f} x the default"
            f" {1e6 * best.cpu_seconds / count:8.1f} us CPU"
            f" {floor.cpu_seconds / best.cpu_seconds:6.1f} x less"
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What reading everything took, in this process."""

    seconds: float
    cpu_seconds: float


def _best(read: Callable[[], int], count: int) -> Taken:
    """Read everything several times; the shortest."""
    taken = []
    for _ in range(REPEATS):
        start, cpu_start = time.perf_counter(), time.process_time()
        assert read() == count
        taken.append(
            Taken(seconds=time.perf_counter() - start, cpu_seconds=time.process_time() - cpu_start)
        )
    return min(taken, key=lambda one: one.seconds)


def _with_stub(connection: grpc.Channel) -> int:
    with connection:
        call = job_service_pb2_grpc.JobServiceStub(connection).StreamSimulateJobs(
            job_service_pb2.StreamSimulateJobsRequest(jobs=CONFIGS)
        )
        return sum(event.HasField("result") for event in call)


def _with_client(target: str) -> int:
    with client.Client(target) as dshpc:
        return sum(event.HasField("result") for event in dshpc.stream(CONFIGS))


def _each(target: str) -> int:
    with client.Client(target) as dshpc:
        return sum(1 for _ in dshpc.run_each(CONFIGS))


async def _with_async_client(target: str) -> int:
    async with client.AsyncClient(target) as dshpc:
        return sum([event.HasField("result") async for event in dshpc.stream(CONFIGS)])


async def _each_async(target: str) -> int:
    async with client.AsyncClient(target) as dshpc:
        return sum([1 async for _ in dshpc.run_each(CONFIGS)])


@contextlib.contextmanager
def _server(count: int) -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_process, args=(theirs, count))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _process(pipe: multiprocessing.connection.Connection, count: int) -> None:
    asyncio.run(_serve(pipe, count))


def _row(index: int) -> types_pb2.MultiJobResult:
    return types_pb2.MultiJobResult(
        index=index,
        job_id="a" * 64,
        new_status=types_pb2.JOB_STATUS_COMPLETED,
        output="x" * 200,
        output_hash="b" * 64,
        file_hash="c" * 64,
        message="Completed job found",
    )


async def _serve(pipe: multiprocessing.connection.Connection, count: int) -> None:
    event = job_service_pb2.StreamSimulateJobsResponse
    # Each has an index of its own: the client tells a row once.
    rows = [_row(index) for index in range(count)]
    groups = [
        job_service_pb2.MultiJobResults(results=rows[first : first + GROUP])
        for first in range(0, count, GROUP)
    ]
    accepted = event(accepted=job_service_pb2.BatchAccepted(batch_id="b")).SerializeToString()
    single = [event(result=row).SerializeToString() for row in rows]
    grouped = [event(results=group).SerializeToString() for group in groups]
    last = event(statistics=types_pb2.JobStatistics(final=True)).SerializeToString()

    async def answer(request: bytes, context: object) -> AsyncIterator[bytes]:
        del context
        asked = job_service_pb2.StreamSimulateJobsRequest.FromString(request)
        is_grouped = asked.stream.max_results_per_message > 1
        yield accepted
        for message in grouped if is_grouped else single:
            yield message
        yield last

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "dshpc.v1.JobService", {"StreamSimulateJobs": handler}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    main()
