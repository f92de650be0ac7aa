"""A sweep of 100 x 1,000 rows through the real server, and what others wait for meanwhile.

A process of its own goes on asking GetServerInfo, GetJob and SimulateJobs of one row while the
sweep is accepted. The floor of accepting is bare sqlite3: the same number of rows put into tables
of the same keys, a thousand a commit. The floor of the others is what they take on the same server
while nothing else goes on. Aimed at: accepted in under 10 s, and p99 of the others under 100 ms.

Accepted is what the stream's first message says: the batch is durable, and has its name. How long
it takes until all its rows are looked up and in the queue is told beside it, to that floor.
"""

import argparse
import contextlib
import functools
import hashlib
import multiprocessing
import multiprocessing.connection
import pathlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator

import grpc
from benchmarks import bench_service, bench_store

from dshpc.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
    types_pb2,
)

ROWS = 100, 1_000
QUIET_SECONDS = 5.0
AIM_SECONDS = 10.0
AIM_P99_SECONDS = 0.1
SCRIPT = "sleep 600"
"""Jobs that take long: that many short ones run meanwhile is not what is measured."""
Figures = dict[str, list[float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=ROWS, help="the lengths of the axes")
    axes: list[int] = list(parser.parse_args().rows)
    total = axes[0] * axes[1]
    with tempfile.TemporaryDirectory(prefix="dshpc-bench-") as name:
        folder = pathlib.Path(name)
        with (
            bench_service.serving(folder, script=SCRIPT) as address,
            grpc.insecure_channel(address, bench_service.OPTIONS) as channel,
        ):
            bench_service.upload(channel)
            jobs = job_service_pb2_grpc.JobServiceStub(channel)
            batches = batch_service_pb2_grpc.BatchServiceStub(channel)
            with others(address) as stop:
                time.sleep(QUIET_SECONDS)
                quiet = stop()
            with others(address) as stop:
                start = time.perf_counter()
                events = jobs.StreamSimulateJobs(sweep(axes), timeout=600)
                accepted = next(events).accepted
                accepted_seconds = time.perf_counter() - start
                assert accepted.total_jobs == total
                looked_up = batches.GetBatch(
                    batch_service_pb2.GetBatchRequest(batch_id=accepted.batch_id), timeout=60
                )
                seconds = time.perf_counter() - start
                busy = stop()
                events.cancel()
            counts = looked_up.batch.statistics
            assert counts.submitted_jobs == total, counts
            resident = resident_bytes(folder)
        floor = store_floor(folder, total)
    print(
        f"{'accepted, a sweep':<34}{accepted_seconds:8.2f} s"
        f" {total / accepted_seconds:10,.0f} rows/s   (aim: {AIM_SECONDS:g} s)"
    )
    print(
        f"{'all its rows looked up':<34}{seconds:8.2f} s {total / seconds:10,.0f} rows/s"
        f" {seconds / floor:6.1f} x floor"
    )
    print(f"{'floor: bare sqlite3':<34}{floor:8.2f} s {total / floor:10,.0f} rows/s")
    print(f"{'largest resident size':<34}{resident / 2**20:8.0f} MiB")
    for what, times in busy.items():
        told = " ".join(
            f"{f'p{share}':>5} {at(times, share) * 1e3:6.1f} ms"
            f" {at(times, share) / at(quiet[what], share):5.1f} x floor"
            for share in (50, 99, 100)
        )
        print(f"meanwhile {what:<18}{len(times):5} calls {told}   (aim: p99 100 ms)")


def sweep(axes: list[int]) -> job_service_pb2.StreamSimulateJobsRequest:
    """Ask for rows as `bench_service` does, by two axes."""
    request = job_service_pb2.StreamSimulateJobsRequest()
    config = request.jobs.add(
        file_hash=hashlib.sha256(bench_service.CONTENT).hexdigest(),
        method_name="bench",
        config_id="bench/sweep",
    )
    config.parameters.update({"bins": 10, "column": "age"})
    for name, count in zip(("outer", "row"), axes, strict=True):
        config.sweep.axes.add(
            parameter=name, range=types_pb2.SweepRange(start=1, stop=count, count=count)
        )
    return request


@contextlib.contextmanager
def others(address: str) -> Iterator[Callable[[], Figures]]:
    """Have another process call the server, one call after the other; tells what each took."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=call, args=(theirs, address))
    process.start()
    ours.recv()  # it has begun
    try:

        def stop() -> Figures:
            ours.send(None)
            figures: Figures = ours.recv()
            return figures

        yield stop
    finally:
        process.join()


def call(pipe: multiprocessing.connection.Connection, address: str) -> None:
    """Call until told to stop."""
    with grpc.insecure_channel(address) as channel:
        jobs = job_service_pb2_grpc.JobServiceStub(channel)
        servers = server_service_pb2_grpc.ServerServiceStub(channel)
        one = job_service_pb2.SimulateJobsRequest()
        one.jobs.add(
            file_hash=hashlib.sha256(bench_service.CONTENT).hexdigest(), method_name="bench"
        )
        job_id = jobs.SimulateJobs(one, timeout=60).results[0].job_id
        calls: dict[str, Callable[[int], object]] = {
            "GetServerInfo": lambda _: servers.GetServerInfo(
                server_service_pb2.GetServerInfoRequest(), timeout=60
            ),
            "GetJob": lambda _: jobs.GetJob(
                job_service_pb2.GetJobRequest(job_id=job_id), timeout=60
            ),
            "SimulateJobs": lambda number: jobs.SimulateJobs(new(one, number), timeout=60),
        }
        times: Figures = {what: [] for what in calls}
        pipe.send(None)
        number = time.time_ns()
        while not pipe.poll():
            for what, ask in calls.items():
                number += 1
                times[what].append(bench_store.clocked(functools.partial(ask, number)))
        pipe.recv()
        pipe.send(times)


def new(
    one: job_service_pb2.SimulateJobsRequest, number: int
) -> job_service_pb2.SimulateJobsRequest:
    """Return the request with a job that is new."""
    request = job_service_pb2.SimulateJobsRequest()
    request.CopyFrom(one)
    request.jobs[0].parameters.update({"alone": str(number)})
    return request


def at(times: list[float], share: int) -> float:
    """Return the time that so many of a hundred calls have kept to."""
    return sorted(times)[min(len(times) - 1, len(times) * share // 100)]


def resident_bytes(folder: pathlib.Path) -> int:
    """Return the most memory that the server over this folder has held."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            words = (status.parent / "cmdline").read_bytes().split(b"\0")
            if b"serve" in words and f"--data-dir={folder / 'data'}".encode() in words:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                return int(lines["VmHWM"].split()[0]) * 1024
    return 0


def store_floor(folder: pathlib.Path, rows: int) -> float:
    """Return what bare sqlite3 takes for as many rows, a thousand a commit."""
    path = folder / "floor.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(bench_store.FLOOR_TABLES)
        return sum(
            bench_store.clocked(insert)
            for number in range(rows // 1000)
            for insert in [bench_store.inserting(connection, str(number), 1000)]
        )


if __name__ == "__main__":
    main()
