"""CancelBatch over the wire: what nobody else waits for is stopped, the rest goes on."""

import pathlib
import signal
import time

import grpc
import pytest

from dshpc.v1 import batch_service_pb2, types_pb2
from support import batch_calls, calls, job_calls, live_server, site

CANCELLED = types_pb2.JOB_STATUS_CANCELLED
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
PENDING = types_pb2.JOB_STATUS_PENDING
RUNNING = types_pb2.JOB_STATUS_RUNNING
STOP_SECONDS = 2.0


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods, and one whose jobs have children everywhere."""
    made = site.write(tmp_path_factory.mktemp("site"))
    site.install(made, "family", job_calls.FAMILY)
    return made


def family(
    service: calls.Service, folder: pathlib.Path
) -> tuple[types_pb2.JobConfig, job_calls.Family]:
    made = job_calls.Family(folder / "pids")
    return calls.config("family", service.upload(made.content)), made


def test_a_run_that_two_batches_wait_for_goes_on_until_the_second_is_cancelled_too(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    config, processes = family(service, tmp_path)
    first = service.simulate(config, display_name="first").batch_id
    pids = processes.pids()
    second = service.simulate(config).batch_id

    told = batch_calls.cancel(service, first, reason="not mine any more")
    assert batch_calls.counts(told) == (0, 1, 0)
    assert told.batch.state == batch_service_pb2.BATCH_STATE_FINISHED
    assert (told.batch.reason, told.batch.display_name) == ("not mine any more", "first")
    assert told.batch.HasField("end_time")
    batch_calls.check_statistics(told.batch.statistics)
    assert (told.batch.statistics.cancelled_jobs, told.batch.statistics.final) == (1, True)
    (row,) = batch_calls.rows(service, first)
    assert (row.new_status, row.outcome) == (CANCELLED, types_pb2.OUTCOME_SUBMITTED)
    assert row.error.message == "Cancelled: not mine any more (its run goes on for others)"
    assert row.HasField("end_time")
    assert batch_calls.statuses(service, second) == [RUNNING]
    assert job_calls.alive(pids) == pids

    told = batch_calls.cancel(service, second, reason="mine neither")
    begun = time.monotonic()
    assert batch_calls.counts(told) == (1, 0, 0)
    live_server.wait_for(lambda: not job_calls.alive(pids), "the process tree to be gone")
    assert time.monotonic() - begun < STOP_SECONDS
    batch_calls.wait_for_statuses(service, second, [CANCELLED])
    (row,) = batch_calls.rows(service, second)
    assert row.error.message == "Cancelled: mine neither"
    # What it shows is how it ended; what becomes of the run since then does not show.
    assert batch_calls.rows(service, first)[0].error.message.endswith("goes on for others)")


def test_cancelling_twice_changes_nothing_and_the_first_reason_counts(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content))
    batch_id = service.simulate(held, calls.config("no_input"), calls.config("nobody")).batch_id
    service.run(calls.config("no_input"))
    assert batch_calls.counts(batch_calls.cancel(service, batch_id, reason="once")) == (1, 0, 2)
    batch_calls.wait_for_statuses(service, batch_id, [CANCELLED, COMPLETED, 0])
    before = batch_calls.rows(service, batch_id)
    again = batch_calls.cancel(service, batch_id, reason="twice")
    assert batch_calls.counts(again) == (0, 0, 3)
    assert (again.batch.reason, again.batch.state) == (
        "once",
        batch_service_pb2.BATCH_STATE_FINISHED,
    )
    assert batch_calls.rows(service, batch_id) == before


def test_only_the_rows_that_are_named_are_withdrawn(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    settings = live_server.settings(tmp_path, methods_dir, slots=1)
    with live_server.in_thread(settings) as address, grpc.insecure_channel(address) as channel:
        service = calls.Service(channel)
        gate = site.Gate(tmp_path / "gate")
        held = calls.config("hold", service.upload(gate.content))
        waiting = [calls.config("no_input", parameters={"n": n}) for n in range(3)]
        answer = service.simulate(held, *waiting, waiting[0])
        service.wait_for_status(answer.results[0].job_id, RUNNING)
        told = batch_calls.cancel(service, answer.batch_id, 1, 2, 2)
        # The first of the two waits for what the last row waits for, too.
        assert batch_calls.counts(told) == (1, 1, 0)
        assert told.batch.state == batch_service_pb2.BATCH_STATE_RUNNING
        assert told.batch.reason == ""
        gate.open()
        expected = [COMPLETED, CANCELLED, CANCELLED, COMPLETED, COMPLETED]
        batch_calls.wait_for_statuses(service, answer.batch_id, expected)


def test_a_stream_of_a_batch_that_is_cancelled_tells_every_row_and_ends(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gates = [site.Gate(tmp_path / f"gate {n}") for n in range(2)]
    mine, shared = (calls.config("hold", service.upload(gate.content)) for gate in gates)
    other = service.simulate(shared).batch_id
    stream = service.stream(mine, shared)
    batch_id = next(stream).accepted.batch_id
    service.wait_for_status(batch_calls.rows(service, batch_id)[0].job_id, RUNNING)
    told = batch_calls.cancel(service, batch_id, reason="enough")
    assert batch_calls.counts(told) == (1, 1, 0)
    *results, closing = stream
    assert {event.result.index: event.result.new_status for event in results} == {
        0: CANCELLED,
        1: CANCELLED,
    }
    assert closing.statistics.final
    assert closing.statistics.cancelled_jobs == 2
    batch_calls.check_statistics(closing.statistics)
    gates[1].open()
    batch_calls.wait_for_statuses(service, other, [COMPLETED])


def test_what_cannot_be_cancelled_is_refused_and_nothing_is_withdrawn(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    batch_id = service.simulate(calls.config("hold", service.upload(gate.content))).batch_id
    asked = batch_service_pb2.CancelBatchRequest
    for request, code, text in [
        (asked(batch_id="nobody"), grpc.StatusCode.NOT_FOUND, "batch 'nobody' not found"),
        (asked(), grpc.StatusCode.NOT_FOUND, "batch"),
        (
            asked(batch_id=batch_id, indexes=[0, 1]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "indexes[1]: the batch has no row 1",
        ),
        (
            asked(batch_id=batch_id, indexes=[-1]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "indexes[0]: the batch has no row -1",
        ),
        (
            asked(batch_id=batch_id, reason="é" * 129),
            grpc.StatusCode.INVALID_ARGUMENT,
            "reason: is over 256 bytes",
        ),
    ]:
        refused = job_calls.refused(service.batches.CancelBatch, request)
        assert refused.code == code
        assert text in refused.text
    gate.open()
    batch_calls.wait_for_statuses(service, batch_id, [COMPLETED])


def test_a_cancelled_batch_of_many_rows_is_gone_at_once(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    settings = live_server.settings(tmp_path, methods_dir, slots=1)
    with live_server.in_thread(settings) as address, grpc.insecure_channel(address) as channel:
        service = calls.Service(channel)
        gate = site.Gate(tmp_path / "gate")
        held = calls.config("hold", service.upload(gate.content))
        many = [calls.config("no_input", parameters={"n": n}) for n in range(3000)]
        # What is accepted piece by piece may begin before its last piece is there.
        first = service.simulate(held)
        service.wait_for_status(first.results[0].job_id, RUNNING)
        answer = service.simulate(*many)
        told = batch_calls.cancel(service, answer.batch_id, reason="too many")
        assert batch_calls.counts(told) == (3000, 0, 0)
        assert told.batch.statistics.cancelled_jobs == 3000
        batch_calls.wait_for_statuses(service, answer.batch_id, [CANCELLED] * 3000)
        told = batch_calls.cancel(service, first.batch_id)
        assert batch_calls.counts(told) == (1, 0, 0)


def test_a_cancel_survives_a_server_that_dies_before_the_engine_has_heard_of_it(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    dying = {"crash-at": "withdrawal.recorded:1"}
    with live_server.as_process(tmp_path, methods_dir, **dying) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            config, processes = family(service, tmp_path)
            batch_id = service.simulate(config).batch_id
            pids = processes.pids()
            asked = batch_service_pb2.CancelBatchRequest(batch_id=batch_id, reason="in time")
            refused = job_calls.refused(service.batches.CancelBatch, asked)
            assert refused.code == grpc.StatusCode.UNAVAILABLE
        assert first.process.wait(live_server.STOP_SECONDS) == -signal.SIGKILL
        assert job_calls.alive(pids) == pids
        with (
            live_server.as_process(tmp_path, methods_dir) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            batch_calls.wait_for_statuses(service, batch_id, [CANCELLED])
            assert job_calls.alive(pids) == []
            again = batch_calls.cancel(service, batch_id)
            assert batch_calls.counts(again) == (0, 0, 1)
            assert again.batch.reason == "in time"
