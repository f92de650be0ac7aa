"""A network that cuts, trickles, ends by halves: the client goes on or says so, nothing leaks."""

import asyncio
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import psutil
import pytest

from dshpc import client
from dshpc.v1 import job_service_pb2
from support import calls, fault_proxy, hostile_server, live_server, site
from support.fault_connection import Way

MIB = 1 << 20
CONTENT = bytes(range(256)) * (8 * MIB // 256)
Body = Callable[[fault_proxy.Proxy, client.Client], None]


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    return site.write(tmp_path / "site")


async def leaving_nothing(folder: pathlib.Path, methods_dir: pathlib.Path, body: Body) -> None:
    """Run a body with a client behind a proxy; afterwards the server holds what it held before."""

    def behind_a_proxy(address: str) -> None:
        with fault_proxy.before(address) as proxy, client.Client(proxy.address) as dshpc:
            body(proxy, dshpc)

    async with hostile_server.inside(live_server.settings(folder, methods_dir)) as server:
        await asyncio.to_thread(warm, server.address)
        await hostile_server.until(lambda: not connections(server), lambda: connections(server))
        before = server.leavings()
        await asyncio.to_thread(behind_a_proxy, server.address)
        await hostile_server.until(lambda: is_as(before, server.leavings()), server.leavings)
        assert not connections(server)


def is_as(before: hostile_server.Leavings, now: hostile_server.Leavings) -> bool:
    """Whether nothing is there that was not before."""
    kept = (now.tasks <= before.tasks, now.descriptors <= before.descriptors)
    counted = dataclasses.replace(now, tasks=before.tasks, descriptors=before.descriptors)
    return all(kept) and counted == before


def connections(server: hostile_server.Inside) -> list[object]:
    """The connections that the server has, or has not closed yet."""
    port = int(server.address.rpartition(":")[2])
    return [
        each
        for each in psutil.Process().net_connections("tcp")
        if each.laddr.port == port and each.raddr
    ]


def warm(address: str) -> None:
    """Have made what a server makes at its first calls, and keeps."""
    with grpc.insecure_channel(address, options=hostile_server.CHANNEL_OPTIONS) as channel:
        service = calls.Service(channel)
        assert service.run(calls.config("echo", service.upload(b"warm\n"))).output == "warm\n"


@contextlib.contextmanager
def streaming(
    dshpc: client.Client, gate: site.Gate
) -> Iterator[Iterator[job_service_pb2.StreamSimulateJobsResponse]]:
    """Stream a job that waits at a gate, from when it was accepted."""
    config = calls.config("hold", dshpc.upload_bytes(gate.content))
    with contextlib.closing(dshpc.stream([config])) as events:
        assert next(events).HasField("accepted")
        yield events


@pytest.mark.parametrize("reset", [True, False], ids=["RST", "FIN"])
async def test_a_stream_that_is_cut_goes_on_where_it_was(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, *, reset: bool
) -> None:
    gate = site.Gate(tmp_path / "gate")

    def body(proxy: fault_proxy.Proxy, dshpc: client.Client) -> None:
        with streaming(dshpc, gate) as events:
            assert proxy.cut(reset=reset) == 1
            gate.open(b"went on\n")
            assert_ended_once(events)

    await leaving_nothing(tmp_path, methods_dir, body)


async def test_a_stream_whose_way_to_the_server_ends_goes_on_where_it_was(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")

    def body(proxy: fault_proxy.Proxy, dshpc: client.Client) -> None:
        with streaming(dshpc, gate) as events:
            proxy.half_close(Way.TO_SERVER)
            gate.open(b"went on\n")
            assert_ended_once(events)

    await leaving_nothing(tmp_path, methods_dir, body)


async def test_a_stream_that_cannot_go_on_says_so_and_its_batch_goes_on(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")

    def body(proxy: fault_proxy.Proxy, dshpc: client.Client) -> None:
        hasty = client.RetryPolicy(attempts=2, first_pause_seconds=0.01)
        with (
            client.Client(proxy.address, retry=hasty) as leaving,
            streaming(leaving, gate) as events,
        ):
            proxy.refuse()
            proxy.cut()
            with pytest.raises(client.IncompleteStreamError) as caught:
                list(events)
        gate.open(b"went on\n")
        proxy.accept()
        token = caught.value.resume_token
        assert_ended_once(dshpc.watch_batch(caught.value.batch_id, resume_token=token))

    await leaving_nothing(tmp_path, methods_dir, body)


def assert_ended_once(events: Iterator[job_service_pb2.StreamSimulateJobsResponse]) -> None:
    """The one row of a batch comes once, from its one run, and then the statistics."""
    *others, last = events
    (row,) = [event.result for event in others if event.HasField("result")]
    assert (row.output, row.attempt) == ("went on\n", 1)
    assert last.statistics.final


async def test_an_upload_that_is_cut_again_and_again_sends_nothing_twice_that_is_kept(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    def body(proxy: fault_proxy.Proxy, dshpc: client.Client) -> None:
        with cutting(proxy, times=3, every_bytes=2 * MIB):
            file_hash = dshpc.upload_bytes(CONTENT)
        assert dshpc.file(file_hash).size_bytes == len(CONTENT)
        assert dshpc.read(file_hash) == CONTENT
        # What was under way at a cut is sent again: of 2 MiB at most each time.
        assert proxy.passed_bytes(Way.TO_SERVER) < len(CONTENT) + 3 * 2 * MIB
        assert proxy.accepted == 4

    await leaving_nothing(tmp_path, methods_dir, body)


@contextlib.contextmanager
def cutting(proxy: fault_proxy.Proxy, *, times: int, every_bytes: int) -> Iterator[None]:
    """Cut what comes so often, each time after so many bytes; then let all pass."""

    def cut() -> None:
        for _ in range(times):
            proxy.let(to_server=every_bytes)
            proxy.wait_until_spent()
            proxy.cut()
        proxy.pass_all()

    with in_thread(cut):
        yield


@contextlib.contextmanager
def in_thread(work: Callable[[], None]) -> Iterator[None]:
    """Have work done beside the body; what it raises is raised at the end."""
    with futures.ThreadPoolExecutor(max_workers=1) as threads:
        done = threads.submit(work)
        yield
        done.result(hostile_server.SECONDS)


async def test_what_trickles_comes_through_whole(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    def body(proxy: fault_proxy.Proxy, dshpc: client.Client) -> None:
        proxy.trickle(7, every_seconds=0.001)
        content = b"drop by drop\n" * 10
        config = calls.config("echo", dshpc.upload_bytes(content))
        (row,) = dshpc.run_each([config])
        assert row.output == content.decode()

    await leaving_nothing(tmp_path, methods_dir, body)


async def test_a_server_that_cannot_be_reached_for_a_while_is_waited_for(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    def body(proxy: fault_proxy.Proxy, dshpc: client.Client) -> None:
        file_hash = dshpc.upload_bytes(b"before\n")
        proxy.refuse()
        proxy.cut()
        with pytest.raises(client.ServerUnavailableError):
            dshpc.find_missing([file_hash])
        proxy.accept()
        found = live_server.wait_for(lambda: reached(dshpc, file_hash), "the server to be back")
        assert found == [[]]

    await leaving_nothing(tmp_path, methods_dir, body)


def reached(dshpc: client.Client, file_hash: str) -> list[list[str]]:
    """What is missing, when the server answers."""
    try:
        return [dshpc.find_missing([file_hash])]
    except client.ServerUnavailableError:
        return []


async def test_calls_that_hang_in_a_stalled_network_leave_nothing_when_it_is_cut(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")

    def body(proxy: fault_proxy.Proxy, dshpc: client.Client) -> None:
        with streaming(dshpc, gate) as events:
            proxy.stall()
            with grpc.insecure_channel(
                proxy.address, options=hostile_server.CHANNEL_OPTIONS
            ) as channel:
                service = calls.Service(channel)
                refused = calls.refusal(
                    lambda: service.jobs.GetJob(
                        job_service_pb2.GetJobRequest(job_id="0" * 64), timeout=0.2
                    )
                )
                assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
            proxy.cut()
            proxy.pass_all()
            gate.open(b"went on\n")
            assert_ended_once(events)

    await leaving_nothing(tmp_path, methods_dir, body)
