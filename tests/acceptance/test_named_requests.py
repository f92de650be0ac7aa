"""Requests that have a name, over the wire: asked again, nothing is done a second time."""

import pathlib
import uuid

import grpc

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, live_server, site


def named() -> str:
    return str(uuid.uuid4())


def tallied(service: calls.Service, folder: pathlib.Path) -> tuple[types_pb2.JobConfig, site.Tally]:
    """A job that counts its runs."""
    tally = site.Tally(folder / "tally")
    return calls.config("tally", service.upload(tally.content), {"code": 0}), tally


def test_asked_again_the_same_batch_is_answered_as_it_stands(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    config, tally = tallied(service, tmp_path)
    name = named()
    first = service.simulate(config, calls.config("nobody"), request_id=name)
    again = service.simulate(config, calls.config("nobody"), request_id=name, finished=True)
    assert again.batch_id == first.batch_id
    assert again.results[0].outcome == types_pb2.OUTCOME_SUBMITTED
    assert again.results[0].new_status == types_pb2.JOB_STATUS_COMPLETED
    assert again.results[1] == first.results[1]
    assert again.statistics.final
    assert again.statistics.submitted_jobs == 1
    # Without the name it is another batch, which finds what was computed.
    other = service.simulate(config, calls.config("nobody"))
    assert other.batch_id != first.batch_id
    assert other.results[0].outcome == types_pb2.OUTCOME_FOUND_COMPLETED
    assert tally.runs == 1


def test_a_stream_asked_again_says_so_and_tells_its_rows(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    config, tally = tallied(service, tmp_path)
    name = named()
    first = list(service.stream(config, request_id=name))
    again = list(service.stream(config, request_id=name))
    unary = service.simulate(config, request_id=name)
    assert [event.accepted.duplicate_request for event in (first[0], again[0])] == [False, True]
    assert first[0].accepted.batch_id == again[0].accepted.batch_id == unary.batch_id
    assert [event.WhichOneof("event") for event in again] == ["accepted", "result", "statistics"]
    assert again[1].result == first[1].result == unary.results[0]
    assert again[2].statistics.submitted_jobs == 1
    assert tally.runs == 1


def test_under_the_name_of_another_request_nothing_is_done(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    config, tally = tallied(service, tmp_path)
    name = named()
    service.simulate(calls.config("nobody"), request_id=name)
    refused = calls.refusal(lambda: service.simulate(config, request_id=name))
    assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.text == f"request_id '{name}' is that of a request that asked otherwise"
    assert tally.runs == 0
    # Who only wants to know what would happen may.
    checked = service.simulate(config, request_id=name, validate_only=True)
    assert checked.results[0].outcome == types_pb2.OUTCOME_SUBMITTED
    assert not checked.batch_id


def test_what_was_only_validated_has_not_taken_its_name(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    config, tally = tallied(service, tmp_path)
    name = named()
    service.simulate(config, request_id=name, validate_only=True)
    done = service.simulate(config, request_id=name, finished=True)
    assert done.results[0].outcome == types_pb2.OUTCOME_SUBMITTED
    assert tally.runs == 1


def test_a_name_that_is_no_uuid_is_refused(service: calls.Service) -> None:
    refused = calls.refusal(lambda: service.simulate(calls.config("nobody"), request_id="mine"))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.text == "options.request_id: must be a UUID: 8-4-4-4-12 hex digits"


def test_of_many_at_one_instant_one_is_accepted_and_all_have_its_batch(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    config, tally = tallied(service, tmp_path)
    for _ in range(5):
        name = named()
        asked = job_service_pb2.SimulateJobsRequest(
            jobs=[config] * 3,
            options=types_pb2.BatchOptions(request_id=name),
            wait=calls.until_finished(),
        )
        waiting = [service.jobs.SimulateJobs.future(asked, timeout=60) for _ in range(10)]
        answers = [each.result() for each in waiting]
        assert len({answer.batch_id for answer in answers}) == 1
        assert all(answer.results == answers[0].results for answer in answers)
    assert tally.runs == 1


def test_it_is_known_after_a_restart(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> None:
    settings = live_server.settings(tmp_path, methods_dir)
    name, config = named(), calls.config("nobody")
    told = []
    for _ in range(2):
        with (
            live_server.in_thread(settings) as address,
            grpc.insecure_channel(address) as channel,
        ):
            service = calls.Service(channel)
            told.append(service.simulate(config, request_id=name).batch_id)
            page = batch_service_pb2.ListBatchResultsRequest(batch_id=told[0])
            assert len(service.batches.ListBatchResults(page).results) == 1
    assert told[0] == told[1]
