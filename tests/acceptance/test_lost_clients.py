"""`cancel_on_disconnect` over the wire: a batch goes with its client, unless that comes back.

No test waits for a time: what was lost later and has been cancelled shows that the grace of what
was lost before is over.
"""

import pathlib
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import batch_calls, calls, job_calls, live_server, lost_client, site

CANCELLED = types_pb2.JOB_STATUS_CANCELLED
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
RUNNING = types_pb2.JOB_STATUS_RUNNING
GRACE_SECONDS = 0.5
GONE = "Cancelled: the client has gone away"


@pytest.fixture
def address(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> Iterator[str]:
    settings = live_server.settings(
        tmp_path, methods_dir, slots=8, disconnect_grace_seconds=GRACE_SECONDS
    )
    with live_server.in_thread(settings) as made:
        yield made


@pytest.fixture
def service(address: str) -> Iterator[calls.Service]:
    """Who looks on."""
    with grpc.insecure_channel(address) as channel:
        yield calls.Service(channel)


class Held:
    """Jobs that wait until the test lets them go."""

    def __init__(self, service: calls.Service, folder: pathlib.Path) -> None:
        self._service = service
        self._folder = folder
        self.gates: list[site.Gate] = []
        """In the order in which their jobs were made."""

    def config(self) -> types_pb2.JobConfig:
        """One more."""
        gate = site.Gate(self._folder / f"gate {len(self.gates)}")
        self.gates.append(gate)
        return calls.config("hold", self._service.upload(gate.content))


@pytest.fixture
def held(service: calls.Service, tmp_path: pathlib.Path) -> Iterator[Held]:
    made = Held(service, tmp_path)
    yield made
    for job in service.jobs.ListJobs(job_service_pb2.ListJobsRequest(), timeout=60).jobs:
        job_calls.cancel(service, job.job_id)


def lost_stream(address: str, config: types_pb2.JobConfig, **options: Any) -> str:  # noqa: ANN401 - fields by name
    """Ask for a batch by a stream and lose it; the batch."""
    with grpc.insecure_channel(address) as channel:
        stream = calls.Service(channel).stream(config, **options)
        return next(stream).accepted.batch_id


def wait_until_a_later_grace_is_over(address: str, service: calls.Service, held: Held) -> None:
    """Lose another call and see its batch cancelled."""
    later = lost_stream(address, held.config(), cancel_on_disconnect=True)
    batch_calls.wait_for_statuses(service, later, [CANCELLED])


def test_the_batch_of_a_client_that_is_killed_is_cancelled(
    address: str, service: calls.Service, held: Held
) -> None:
    file_hash = held.config().file_hash
    words = [sys.executable, str(lost_client.__file__), address, file_hash]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        batch_id = client.stdout.readline().strip()
        batch_calls.wait_for_statuses(service, batch_id, [RUNNING])
        client.kill()
    batch_calls.wait_for_statuses(service, batch_id, [CANCELLED])
    (row,) = batch_calls.rows(service, batch_id)
    assert row.error.message == GONE
    assert batch_calls.cancel(service, batch_id).batch.reason == "the client has gone away"


def test_who_did_not_ask_for_that_loses_a_call_and_nothing_else(
    address: str, service: calls.Service, held: Held
) -> None:
    batch_id = lost_stream(address, held.config())
    wait_until_a_later_grace_is_over(address, service, held)
    assert batch_calls.statuses(service, batch_id) == [RUNNING]
    held.gates[0].open()
    batch_calls.wait_for_statuses(service, batch_id, [COMPLETED])


def test_a_unary_call_that_waits_can_be_lost_as_well(
    address: str, service: calls.Service, held: Held
) -> None:
    config = held.config()
    asked = job_service_pb2.SimulateJobsRequest(
        jobs=[config],
        options=types_pb2.BatchOptions(cancel_on_disconnect=True),
        wait=calls.until_finished(),
    )
    with grpc.insecure_channel(address) as channel:
        waiting = calls.Service(channel).jobs.SimulateJobs.future(asked, timeout=60)
        job_id = service.ask(config, validate_only=True).job_id
        live_server.wait_for(
            lambda: service.ask(config, validate_only=True).new_status == RUNNING, "it to run"
        )
        assert not waiting.done()
    assert service.wait_for_status(job_id, CANCELLED).reason == GONE


def test_a_call_that_has_its_answer_is_not_lost(
    address: str, service: calls.Service, held: Held
) -> None:
    with grpc.insecure_channel(address) as channel:
        asking = calls.Service(channel)
        resolved = asking.simulate(held.config(), cancel_on_disconnect=True).batch_id
        short = calls.until_finished(0)
        *_, closing = asking.stream(held.config(), wait=short, cancel_on_disconnect=True)
        assert not closing.statistics.final
    wait_until_a_later_grace_is_over(address, service, held)
    assert batch_calls.statuses(service, resolved) == [RUNNING]


def test_who_asks_again_under_the_same_name_has_come_back(
    address: str, service: calls.Service, held: Held
) -> None:
    config, name = held.config(), str(uuid.uuid4())
    batch_id = lost_stream(address, config, cancel_on_disconnect=True, request_id=name)
    back = service.stream(config, cancel_on_disconnect=True, request_id=name)
    assert next(back).accepted.batch_id == batch_id
    wait_until_a_later_grace_is_over(address, service, held)
    assert batch_calls.statuses(service, batch_id) == [RUNNING]
    held.gates[0].open()
    *_, closing = back
    assert closing.statistics.completed_jobs == 1


@pytest.mark.parametrize("how", ["WatchBatch", "GetBatch"])
def test_who_follows_the_batch_has_come_back(
    address: str, service: calls.Service, held: Held, how: str
) -> None:
    batch_id = lost_stream(address, held.config(), cancel_on_disconnect=True)
    if how == "WatchBatch":
        stream = service.batches.WatchBatch(
            batch_service_pb2.WatchBatchRequest(batch_id=batch_id), timeout=60
        )
        assert next(stream).accepted.batch_id == batch_id
    else:
        asked = batch_service_pb2.GetBatchRequest(batch_id=batch_id, wait=job_calls.duration(0.05))
        service.batches.GetBatch(asked, timeout=60)
    wait_until_a_later_grace_is_over(address, service, held)
    assert batch_calls.statuses(service, batch_id) == [RUNNING]


def test_what_others_wait_for_goes_on_without_the_client(
    address: str, service: calls.Service, held: Held
) -> None:
    config = held.config()
    other = service.simulate(config).batch_id
    batch_id = lost_stream(address, config, cancel_on_disconnect=True)
    batch_calls.wait_for_statuses(service, batch_id, [CANCELLED])
    assert batch_calls.statuses(service, other) == [RUNNING]
    held.gates[0].open()
    batch_calls.wait_for_statuses(service, other, [COMPLETED])


def test_a_server_that_stops_has_lost_nobody(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    flags = {"disconnect-grace-seconds": 0}
    with live_server.as_process(tmp_path, methods_dir, **flags) as first:
        with grpc.insecure_channel(first.address) as channel:
            stopping = calls.Service(channel)
            gate = Held(stopping, tmp_path)
            stream = stopping.stream(gate.config(), cancel_on_disconnect=True)
            batch_id = next(stream).accepted.batch_id
            batch_calls.wait_for_statuses(stopping, batch_id, [RUNNING])
            assert first.stop(signal.SIGTERM) == 0
            refused = calls.refusal(lambda: list(stream))
            assert refused.code == grpc.StatusCode.UNAVAILABLE
        with (
            live_server.as_process(tmp_path, methods_dir, **flags) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            assert batch_calls.statuses(service, batch_id) == [RUNNING]
            gate.gates[0].open()
            batch_calls.wait_for_statuses(service, batch_id, [COMPLETED])
