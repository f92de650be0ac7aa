"""Thousands of random messages and bytes to every RPC: none of them finds a bug.

DSHPC_FUZZ_CALLS says how many of each kind (default 2,000), DSHPC_FUZZ_SEED with which seed.
"""

import concurrent.futures
import os
import pathlib
import random
from collections.abc import Iterator

import grpc
import pytest

from support import calls, hostile_messages, hostile_rpcs, hostile_state, live_server, site

CALLS = int(os.environ.get("DSHPC_FUZZ_CALLS", "2000"))
SEED = int(os.environ.get("DSHPC_FUZZ_SEED", "0")) or random.SystemRandom().getrandbits(32)
AT_ONE_TIME = 8
SECONDS = 2.0
"""Of one call: some ask to wait."""
EXPECTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live_server.ServerProcess]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with live_server.as_process(
        folder, site.write(folder), max_wait_seconds=1, upload_stall_seconds=1
    ) as process:
        yield process


@pytest.fixture
def known(server: live_server.ServerProcess) -> dict[str, list[str]]:
    """Names that exist, so that what lies behind a look-up is reached, too."""
    with grpc.insecure_channel(server.address) as channel:
        service = calls.Service(channel)
        file_hash = service.upload(b"fuzzed\n")
        answer = service.simulate(calls.config("echo", file_hash), finished=True)
        (result,) = answer.results
    return {
        "method_name": ["echo", "no_input", "parameters"],
        "file_hash": [file_hash],
        "file_hashes": [file_hash],
        "job_id": [result.job_id],
        "batch_id": [answer.batch_id],
        "function_hash": ["", result.function_hash],
        "service": ["", "dshpc.engine", "dshpc.v1.JobService"],
        "file_containing_symbol": ["dshpc.v1.JobService"],
    }


def _check(
    server: live_server.ServerProcess, sent: list[tuple[hostile_rpcs.Rpc, list[bytes]]]
) -> None:
    with (
        grpc.insecure_channel(server.address) as channel,
        concurrent.futures.ThreadPoolExecutor(AT_ONE_TIME) as threads,
    ):
        ends = threads.map(
            lambda each: hostile_rpcs.ask(
                channel, each[0], *each[1], timeout=SECONDS, most_answers=1
            ),
            sent,
        )
        for (rpc, requests), end in zip(sent, ends, strict=True):
            what = f"seed {SEED}: {rpc.name} {requests!r:.300}... ended with {end.code} {end.text}"
            assert end.code in EXPECTED, what
            hostile_state.assert_nothing_from_inside(end.text + end.status.message, server.data_dir)
        assert calls.Service(channel).simulate(calls.config("no_input")).results
    log = pathlib.Path(server.log).read_text(encoding="utf-8")
    for word in ("rpc.bug", "Traceback", "Exception"):
        assert word not in log, f"seed {SEED}: {log[-4000:]}"


@pytest.mark.timeout(max(120, CALLS // 20))
def test_random_messages_never_find_a_bug(
    server: live_server.ServerProcess, known: dict[str, list[str]]
) -> None:
    rng = random.Random(SEED)
    fuzzer = hostile_messages.Fuzzer(rng, known)
    rpcs = [hostile_rpcs.RPCS[index % len(hostile_rpcs.RPCS)] for index in range(CALLS)]
    _check(server, [(rpc, fuzzer.requests(rpc.method)) for rpc in rpcs])


@pytest.mark.timeout(max(120, CALLS // 20))
def test_random_bytes_never_find_a_bug(server: live_server.ServerProcess) -> None:
    fuzzer = hostile_messages.Fuzzer(random.Random(SEED), {})
    rpcs = [hostile_rpcs.RPCS[index % len(hostile_rpcs.RPCS)] for index in range(CALLS)]
    _check(server, [(rpc, [fuzzer.noise()]) for rpc in rpcs])
