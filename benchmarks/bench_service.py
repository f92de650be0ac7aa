"""A batch of 10,000 rows through the real server, beside the bare gRPC round trip of its bytes.

Three figures: accepting 10,000 new rows (unary, until RESOLVED), running them to their end, and
answering the same 10,000 once they are completed. The floor is an asyncio gRPC server in a process
of its own that answers a request of the same bytes with a prebuilt response of the same bytes; it
is measured in the same run, since only ratios mean something on a shared machine.
"""

import argparse
import asyncio
import contextlib
import hashlib
import multiprocessing
import multiprocessing.connection
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import grpc

from dshpc.v1 import (
    file_service_pb2,
    file_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    types_pb2,
)

ROWS = 10_000
REPEATS = 5
SIMULATE = "/dshpc.v1.JobService/SimulateJobs"
MESSAGE_BYTES = 32 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
CONTENT = b"some data\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows: int = parser.parse_args().rows
    with (
        tempfile.TemporaryDirectory(prefix="dshpc-bench-") as name,
        serving(pathlib.Path(name)) as address,
        grpc.insecure_channel(address, OPTIONS) as channel,
    ):
        upload(channel)
        request = request_of(rows, "bench")
        encoded = request.SerializeToString()
        new_seconds, response = _timed(channel, encoded)
        accepted = job_service_pb2.SimulateJobsResponse.FromString(response).statistics
        assert accepted.submitted_jobs == rows, accepted
        run_seconds = _run(channel, request)
        again = []
        for _ in range(REPEATS):
            seconds, response = _timed(channel, encoded)
            found = job_service_pb2.SimulateJobsResponse.FromString(response).statistics
            assert found.found_completed_jobs == rows, found
            again.append(seconds)
    floor = _floor(encoded, response)
    _tell("accepted, new", rows, new_seconds, floor)
    _tell("run to their end", rows, run_seconds, None)
    _tell("answered, completed", rows, min(again), floor)
    _tell("bare round trip", rows, floor, floor)
    print(f"request {len(encoded):,} bytes, response {len(response):,} bytes")


def request_of(rows: int, method: str) -> job_service_pb2.SimulateJobsRequest:
    """Make rows of about 190 bytes; the file is one, so what differs is a parameter."""
    file_hash = hashlib.sha256(CONTENT).hexdigest()
    request = job_service_pb2.SimulateJobsRequest(
        options=types_pb2.BatchOptions(max_response_bytes=MESSAGE_BYTES)
    )
    for index in range(rows):
        config = request.jobs.add(
            file_hash=file_hash, method_name=method, config_id=f"bench/{index:06}"
        )
        config.parameters.update({"bins": 10, "column": "age", "row": index})
    return request


def upload(channel: grpc.Channel) -> None:
    """Store the file that all rows name."""
    header = file_service_pb2.UploadHeader(
        file_hash=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT)
    )
    parts = [
        file_service_pb2.UploadFileRequest(header=header),
        file_service_pb2.UploadFileRequest(chunk=CONTENT),
    ]
    file_service_pb2_grpc.FileServiceStub(channel).UploadFile(iter(parts), timeout=60)


def _timed(channel: grpc.Channel, request: bytes) -> tuple[float, bytes]:
    """Send prebuilt bytes and leave the answer as bytes: the client is no part of the figure."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SIMULATE)
    start = time.perf_counter()
    response: bytes = call(request, timeout=600)
    return time.perf_counter() - start, response


def _run(channel: grpc.Channel, request: job_service_pb2.SimulateJobsRequest) -> float:
    start = time.perf_counter()
    stream = job_service_pb2_grpc.JobServiceStub(channel).StreamSimulateJobs(
        job_service_pb2.StreamSimulateJobsRequest(
            jobs=request.jobs, stream=types_pb2.StreamOptions(max_results_per_message=100)
        ),
        timeout=1800,
    )
    statistics = [event.statistics for event in stream if event.HasField("statistics")]
    assert statistics[-1].completed_jobs == len(request.jobs), statistics
    return time.perf_counter() - start


def _floor(request: bytes, response: bytes) -> float:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_echo_process, args=(theirs, response)
    )
    process.start()
    try:
        with grpc.insecure_channel(ours.recv(), OPTIONS) as channel:
            seconds = [_timed(channel, request)[0] for _ in range(REPEATS)]
    finally:
        process.terminate()
        process.join()
    return min(seconds)


def _echo_process(pipe: multiprocessing.connection.Connection, response: bytes) -> None:
    asyncio.run(_echo(pipe, response))


async def _echo(pipe: multiprocessing.connection.Connection, response: bytes) -> None:
    async def answer(request: bytes, context: object) -> bytes:
        del request, context
        return response

    server = grpc.aio.server(options=OPTIONS)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    _, service, method = SIMULATE.split("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    await server.wait_for_termination()


@contextlib.contextmanager
def serving(folder: pathlib.Path, *flags: str, script: str = "echo done") -> Iterator[str]:
    """Run a server with the method `bench`, which is this script; gives its address."""
    methods_dir = folder / "methods"
    (methods_dir / "commands").mkdir(parents=True)
    (methods_dir / "scripts" / "bench").mkdir(parents=True)
    (methods_dir / "scripts" / "bench" / "main.sh").write_text(f"{script}\n")
    (methods_dir / "commands" / "bench.json").write_text(
        '{"name": "bench", "command": "sh", "script_path": "main.sh"}'
    )
    command = [
        *(sys.executable, "-m", "dshpc_server", "serve", "--listen=127.0.0.1:0"),
        *(f"--data-dir={folder / 'data'}", f"--methods-dir={methods_dir}", "--log-level=warning"),
        *flags,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.terminate()
            process.wait()
            for path in (folder / "data").rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)


def _tell(what: str, rows: int, seconds: float, floor: float | None) -> None:
    ratio = "" if floor is None else f"{seconds / floor:8.1f} x the floor"
    print(f"{what:<20} {seconds:8.3f} s {rows / seconds:12,.0f} rows/s {ratio}")


if __name__ == "__main__":
    main()
