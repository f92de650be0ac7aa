"""A disk that does not answer for a while: nothing is missing, nothing runs twice, all goes on."""

import errno
import pathlib
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.rpc import error_details_pb2

from dshpc.v1 import file_service_pb2, types_pb2
from support import (
    calls,
    fault_load,
    fault_scenario,
    fault_shim,
    fault_tally,
    fault_verdict,
    live_server,
    site,
)
from support.fault_tally import Asked, Mode

FLAGS: dict[str, object] = {
    "inline_output_bytes": fault_scenario.INLINE_OUTPUT_BYTES,
    "retry_first_seconds": 0.1,
    "min_free_bytes": 0,
    "slots": 2,
}
LONG_LINES = 40
"""The output of so many is in the content store."""
RUNS_MILLISECONDS = 3000
"""Long enough to be running still when the disk falls silent."""
NO_KILLS = fault_verdict.Kills(servers=0, runners=0, attempts_at_once=0)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fault_shim.Shim]:
    with fault_shim.built(tmp_path_factory.mktemp("shim")) as shim:
        yield shim


@pytest.fixture
def tally(tmp_path: pathlib.Path) -> fault_tally.Tally:
    tally = fault_tally.Tally(tmp_path / "outside")
    tally.install(tmp_path / "methods")
    return tally


def work(n: int, *, milliseconds: int = 0) -> Asked:
    return Asked(mode=Mode.WORK, x=1, n=n, lines=LONG_LINES, milliseconds=milliseconds)


def told(answer_of: calls.Service, *asked: Asked, finished: bool = False) -> fault_verdict.Told:
    """Ask for these jobs; what was told of them."""
    answer = answer_of.simulate(*(each.config() for each in asked), finished=finished)
    assert len(answer.results) == len(asked)
    rows = fault_load.rows(answer.results) if finished else {}
    return fault_verdict.Told(batch_id=answer.batch_id, asked=asked, rows=rows)


def put_off(call: Callable[[], object]) -> None:
    """Make a call that must be told to come again, because nobody knows what is there."""
    refusal = calls.refusal(call)
    assert refusal.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert refusal.text.startswith("the disk does not ")
    (detail,) = refusal.status.details
    retry = error_details_pb2.RetryInfo()
    assert detail.Unpack(retry)
    assert retry.retry_delay.seconds > 0


def test_what_a_disk_does_not_tell_of_is_not_missing_and_all_goes_on_when_it_does(
    tmp_path: pathlib.Path, shim: fault_shim.Shim, tally: fault_tally.Tally
) -> None:
    with (
        live_server.as_process(tmp_path, tmp_path / "methods", shim.environment, **FLAGS) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        file_hash = service.upload(work(0).content)
        before = told(service, work(0), finished=True)
        running = [work(n, milliseconds=RUNS_MILLISECONDS) for n in (1, 2)]
        # Two that run when the disk falls silent, and two that wait for their places.
        meanwhile = told(service, *running, work(3), work(4))
        rows = service.simulate(*(each.config() for each in running)).results
        for row in rows:
            service.wait_for_status(row.job_id, types_pb2.JOB_STATUS_RUNNING)
        silent = server.data_dir / "files"
        with shim.failing(fault_shim.ASKING, below=silent, error=errno.EIO, times=0):
            put_off(lambda: told(service, work(0)))  # its output
            put_off(lambda: told(service, work(5)))  # its input
            put_off(lambda: service.download(file_hash))
            put_off(lambda: service.download(before.rows[0].output_hash))
            put_off(lambda: missing(service, file_hash))
            put_off(lambda: service.upload(b"something new"))
            for event in ("launch.waits", "result.waits"):
                live_server.wait_for(lambda: event in server.log.read_text(), event)  # noqa: B023 - at once
            put_off(lambda: missing(service, site.hash_of(b"never stored")))
        assert shim.failed
        again = told(service, work(0), work(5), *meanwhile.asked, finished=True)
        found = fault_load.found(service, [before, meanwhile, again])
        told_of = [before, meanwhile, again]
        assert fault_verdict.problems(told_of, found, tally.counts(), NO_KILLS) == []
        assert {row.status for row in again.rows.values()} == {types_pb2.JOB_STATUS_COMPLETED}
        assert {row.attempt for row in again.rows.values()} == {1}
        assert sum(tally.counts().starts.values()) == 6
        assert missing(service, file_hash) == []


def missing(service: calls.Service, file_hash: str) -> list[str]:
    asked = file_service_pb2.FindMissingFilesRequest(file_hashes=[file_hash])
    return list(service.files.FindMissingFiles(asked, timeout=60).missing_hashes)
