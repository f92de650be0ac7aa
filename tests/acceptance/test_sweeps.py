"""Sweeps on a real server: written out, looked up, run, and refused when they are none."""

import itertools
import pathlib
from collections.abc import Callable
from concurrent import futures

import grpc
import pytest
from google.protobuf import json_format

from dshpc.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    job_service_pb2,
    types_pb2,
)
from dshpc_server.batches import staging
from support import calls, site

LARGE = staging.LARGE_ROWS + 200
RESOLVED = types_pb2.WaitPolicy(until=types_pb2.UNTIL_RESOLVED)
ASKED: dict[str, Callable[[batch_service_pb2_grpc.BatchServiceStub, str], object]] = {
    "get": lambda batches, batch_id: batches.GetBatch(
        batch_service_pb2.GetBatchRequest(batch_id=batch_id), timeout=60
    ),
    "list": lambda batches, batch_id: batches.ListBatchResults(
        batch_service_pb2.ListBatchResultsRequest(batch_id=batch_id), timeout=60
    ),
    "watch": lambda batches, batch_id: next(
        batches.WatchBatch(batch_service_pb2.WatchBatchRequest(batch_id=batch_id), timeout=60)
    ),
    "update": lambda batches, batch_id: batches.UpdateBatch(
        batch_service_pb2.UpdateBatchRequest(batch_id=batch_id, priority=7), timeout=60
    ),
    "cancel": lambda batches, batch_id: batches.CancelBatch(
        batch_service_pb2.CancelBatchRequest(batch_id=batch_id), timeout=60
    ),
}
"""What may be asked about a batch; each fails unless the batch is known."""


def ranged(parameter: str, start: float, stop: float, count: int) -> types_pb2.SweepAxis:
    return types_pb2.SweepAxis(
        parameter=parameter, range=types_pb2.SweepRange(start=start, stop=stop, count=count)
    )


def swept(*axes: types_pb2.SweepAxis, config_id: str = "") -> types_pb2.JobConfig:
    made = calls.config("no_input", config_id=config_id)
    made.sweep.axes.extend(axes)
    return made


def listed(service: calls.Service, batch_id: str) -> list[types_pb2.MultiJobResult]:
    asked = batch_service_pb2.ListBatchResultsRequest(batch_id=batch_id, page_size=5000)
    return list(service.batches.ListBatchResults(asked, timeout=60).results)


def test_a_sweep_runs_once_for_each_point_and_is_found_by_whoever_asks_for_one(
    service: calls.Service,
) -> None:
    of = swept(ranged("a", 1, 3, 3), ranged("b", 0, 1, 3), config_id="grid")
    answer = service.simulate(calls.config("no_input"), of, finished=True)
    rows = answer.results[1:]
    points = list(itertools.product((1, 2, 3), (0, 0.5, 1)))
    assert [json_format.MessageToDict(row.parameters) for row in rows] == [
        {"a": a, "b": b} for a, b in points
    ]
    assert [(row.index, row.config_index, row.sweep_index) for row in rows] == [
        (1 + number, 1, number) for number in range(9)
    ]
    assert {row.config_id for row in rows} == {"grid"}
    assert answer.statistics.completed_jobs == answer.statistics.total_jobs == 10
    alone = service.ask(calls.config("no_input", parameters={"a": 2, "b": 0.5}))
    assert (alone.job_id, alone.outcome) == (rows[4].job_id, types_pb2.OUTCOME_FOUND_COMPLETED)


def test_equal_values_collapse_to_one_run(service: calls.Service) -> None:
    axis = types_pb2.SweepAxis(parameter="equal")
    axis.values.add(number_value=1)
    axis.values.add(number_value=1)
    first, second = service.simulate(swept(axis), finished=True).results
    assert first.job_id == second.job_id
    assert (first.outcome, second.outcome) == (
        types_pb2.OUTCOME_SUBMITTED,
        types_pb2.OUTCOME_FOUND_IN_PROGRESS,
    )
    assert second.duplicate_of_index == first.index


def test_a_row_that_cannot_be_names_the_config_that_made_it(service: calls.Service) -> None:
    of = swept(ranged("n", 1, 2, 2))
    of.method_name = "absent"
    rows = service.simulate(calls.config("no_input"), of).results[1:]
    assert [row.outcome for row in rows] == [types_pb2.OUTCOME_REJECTED] * 2


def test_who_has_been_told_of_a_batch_can_ask_about_it_though_its_rows_are_still_looked_up(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    of = swept(ranged("told", 1, LARGE, LARGE))
    of.method_name, of.file_hash = "hold", service.upload(gate.content)
    asked = job_service_pb2.StreamSimulateJobsRequest(jobs=[of], wait=RESOLVED)
    events = service.jobs.StreamSimulateJobs(asked, timeout=60)
    accepted = next(events).accepted
    assert accepted.total_jobs == LARGE
    with futures.ThreadPoolExecutor(len(ASKED)) as threads:
        for each in [
            threads.submit(ask, service.batches, accepted.batch_id) for ask in ASKED.values()
        ]:
            each.result()
    # A row that the withdrawal ended meanwhile is told again.
    assert {event.result.index for event in events if event.HasField("result")} == {*range(LARGE)}


def test_a_large_batch_is_answered_as_far_as_it_fits_and_read_on_from_there(
    service: calls.Service,
) -> None:
    of = swept(ranged("large", 1, LARGE, LARGE), config_id="large")
    answer = service.simulate(of, max_response_bytes=20_000)
    assert answer.statistics.total_jobs == answer.statistics.successful_submissions == LARGE
    assert 0 < len(answer.results) < LARGE
    assert answer.ByteSize() <= 20_000
    rows = list(answer.results)
    token = answer.next_page_token
    while token:
        page = service.batches.ListBatchResults(
            batch_service_pb2.ListBatchResultsRequest(
                batch_id=answer.batch_id, page_token=token, page_size=500
            ),
            timeout=60,
        )
        rows += page.results
        token = page.next_page_token
    assert [row.sweep_index for row in rows] == list(range(LARGE))
    assert [row.parameters["large"] for row in rows] == list(range(1, LARGE + 1))
    again = service.simulate(of, cache_policy=types_pb2.CACHE_POLICY_ONLY)
    assert again.statistics.not_found_jobs == 0
    assert again.statistics.total_jobs == LARGE


def test_a_large_batch_is_retried_as_it_was_asked_for(service: calls.Service) -> None:
    of = swept(ranged("retried", 1, LARGE, LARGE), config_id="retried")
    of.method_name = "absent"
    answer = service.simulate(of)
    assert answer.statistics.failed_submissions == LARGE
    again = service.batches.RetryBatch(
        batch_service_pb2.RetryBatchRequest(batch_id=answer.batch_id), timeout=60
    ).batch
    before, after = listed(service, answer.batch_id), listed(service, again.batch_id)
    assert answer.batch_id != again.batch_id
    assert len(after) == LARGE
    assert [(row.sweep_index, row.config_id, row.parameters) for row in after] == [
        (row.sweep_index, row.config_id, row.parameters) for row in before
    ]


def test_sweeps_go_on_from_each_other_row_by_row(service: calls.Service) -> None:
    first = swept(ranged("x", 1, 3, 3), config_id="first")
    first.method_name = "parameters"
    first.file_hash = service.upload(b"go on row by row\n")
    second = types_pb2.JobConfig(method_name="echo", config_id="second")
    second.inputs["input"].job_output.config_id = "first"
    second.inputs["input"].job_output.per_sweep_index = True
    second.sweep.axes.append(ranged("y", 10, 30, 3))
    rows = service.simulate(first, second, finished=True).results
    assert [row.output for row in rows[:3]] == ['{"x":1}', '{"x":2}', '{"x":3}']
    assert [(row.sweep_index, row.output) for row in rows[3:]] == [
        (row.sweep_index, row.output) for row in rows[:3]
    ]
    assert [row.parameters["y"] for row in rows[3:]] == [10, 20, 30]


def test_rows_of_a_large_batch_wait_for_each_other_whatever_piece_they_are_in(
    service: calls.Service,
) -> None:
    many = swept(ranged("waited", 1, LARGE, LARGE), config_id="many")
    many.method_name = "absent"
    finished = calls.config("no_input", parameters={"after": "many"}, config_id="finished")
    finished.depends_on.add(config_id="many", condition=types_pb2.CONDITION_FINISHED)
    needs = types_pb2.JobConfig(method_name="no_input", config_id="needs")
    needs.depends_on.add(config_id="many")
    answer = service.simulate(finished, many, needs, finished=True)
    assert answer.statistics.total_jobs == LARGE + 2
    assert answer.statistics.final
    rows = {row.config_id: row for row in listed(service, answer.batch_id)}
    assert rows["finished"].new_status == types_pb2.JOB_STATUS_COMPLETED
    assert rows["needs"].new_status == types_pb2.JOB_STATUS_SKIPPED
    assert "is REJECTED" in rows["needs"].message


def test_a_large_batch_is_streamed_as_any_other(service: calls.Service) -> None:
    of = swept(ranged("streamed", 1, LARGE, LARGE))
    events = list(
        service.stream(
            of, wait=RESOLVED, stream=types_pb2.StreamOptions(max_results_per_message=1000)
        )
    )
    assert events[0].accepted.total_jobs == LARGE
    rows = [row for event in events for row in event.results.results]
    assert sorted(row.index for row in rows) == list(range(LARGE))
    assert events[-1].statistics.total_jobs == LARGE
    assert [row.index for row in listed(service, events[0].accepted.batch_id)] == list(range(LARGE))


def test_a_large_batch_that_is_only_validated_is_not_there_afterwards(
    service: calls.Service,
) -> None:
    of = swept(ranged("validated", 1, LARGE, LARGE))
    answer = service.simulate(of, validate_only=True)
    assert answer.batch_id == ""
    assert answer.statistics.submitted_jobs == LARGE
    again = service.simulate(of, cache_policy=types_pb2.CACHE_POLICY_ONLY)
    assert again.statistics.not_found_jobs == LARGE


@pytest.mark.parametrize(
    ("config", "code", "field"),
    [
        (
            swept(*(ranged(f"x{n}", 1, 1, 1) for n in range(1001))),
            grpc.StatusCode.INVALID_ARGUMENT,
            "jobs[0].sweep.axes",
        ),
        (
            swept(ranged("n", 1, 2, 100_001)),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "max_jobs_per_request",
        ),
        (
            swept(*(ranged(f"x{n}", 1, 2, 2**31 - 1) for n in range(999))),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "max_jobs_per_request",
        ),
        (
            swept(ranged("n", 1, 2, 0)),
            grpc.StatusCode.INVALID_ARGUMENT,
            "jobs[0].sweep.axes[0].range.count",
        ),
    ],
)
def test_what_is_no_sweep_or_too_large_is_refused_by_name_and_nothing_is_stored(
    service: calls.Service, config: types_pb2.JobConfig, code: grpc.StatusCode, field: str
) -> None:
    service.ask(calls.config("no_input"))
    newest = job_service_pb2.ListJobsRequest(page_size=1)
    (before,) = service.jobs.ListJobs(newest, timeout=60).jobs
    refused = calls.refusal(lambda: service.simulate(config))
    assert refused.code is code
    assert field in refused.text
    (after,) = service.jobs.ListJobs(newest, timeout=60).jobs
    assert (after.job_id, after.attempt) == (before.job_id, before.attempt)
