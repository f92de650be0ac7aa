"""What every row tells, whatever became of it: the echo, why it was rejected, and its times."""

from typing import Any

import pytest
from google.rpc import error_details_pb2

from dshpc.v1 import types_pb2
from support import calls

ABSENT = "0" * 64
COMPLETED = types_pb2.JOB_STATUS_COMPLETED


def rejected(method_name: str = "no_input", **fields: Any) -> types_pb2.JobConfig:  # noqa: ANN401 - fields by name
    """A config with a name, parameters, and something wrong."""
    return calls.config(method_name, parameters={"a": [1, 2.5]}, **({"config_id": "mine"} | fields))


@pytest.mark.parametrize(
    ("config", "reason", "field"),
    [
        (rejected(method_name="absent"), "METHOD_NOT_FOUND", ""),
        (rejected(function_hash=ABSENT), "METHOD_NOT_FOUND", ""),
        (rejected(method_name="echo", file_hash=ABSENT), "FILE_NOT_FOUND", "inputs.input"),
        (rejected(method_name="echo"), "INVALID_INPUTS", "inputs.input"),
        (rejected(method_name=""), "INVALID_CONFIG", "method_name"),
        (rejected(file_hash="short"), "INVALID_CONFIG", "file_hash"),
        (rejected(timeout="-1s"), "INVALID_CONFIG", "timeout"),
        (rejected(resources={"gpus": -1}), "INVALID_CONFIG", "resources.gpus"),
        (rejected(resources={"gpus": 1}), "RESOURCES_UNAVAILABLE", "resources.gpus"),
        (
            rejected(method_name="declared", inputs={"input": {"file_hash": ABSENT}}),
            "INVALID_PARAMETERS",
            "parameters.label",
        ),
    ],
)
def test_a_rejected_row_names_itself_what_it_asked_and_what_is_wrong(
    service: calls.Service, config: types_pb2.JobConfig, reason: str, field: str
) -> None:
    fine, row = service.simulate(calls.config("no_input"), config).results
    assert fine.outcome != types_pb2.OUTCOME_REJECTED
    assert (row.index, row.config_id, row.outcome) == (1, "mine", types_pb2.OUTCOME_REJECTED)
    assert (row.method_name, row.function_hash) == (config.method_name, config.function_hash)
    given = config.inputs["input"].file_hash if "input" in config.inputs else config.file_hash
    assert row.file_hash == given
    assert row.parameters == config.parameters
    assert (row.job_id, row.attempt) == ("", 0)
    assert (row.new_status, row.old_status) == (types_pb2.JOB_STATUS_UNSPECIFIED,) * 2
    assert not any(row.HasField(time) for time in ("create_time", "start_time", "end_time"))
    assert row.error.message == row.message
    info = error_details_pb2.ErrorInfo()
    assert row.error.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("dshpc", reason)
    wrong = error_details_pb2.BadRequest()
    if field:
        assert row.error.details[1].Unpack(wrong)
        assert f"jobs[1].{field}" in [each.field for each in wrong.field_violations]


def test_a_pin_that_was_never_loaded_is_told_with_its_hash(service: calls.Service) -> None:
    row = service.ask(calls.config("no_input", function_hash=ABSENT))
    assert row.message == f"Method 'no_input' has no version {ABSENT}"


def test_a_later_row_of_the_same_job_names_the_first(service: calls.Service) -> None:
    data = service.upload(b"the same\n")
    first = calls.config("parameters", data, {"b": 1, "a": 2})
    named = calls.config("parameters", parameters={"a": 2}, inputs={"input": {"file_hash": data}})
    named.parameters["b"] = 1.0
    other = calls.config("parameters", data, {"a": 2})
    for _ in range(2):  # submitted and waited for, then found
        rows = service.simulate(other, first, named, first, finished=True).results
        assert [row.HasField("duplicate_of_index") for row in rows] == [False, False, True, True]
        assert [row.duplicate_of_index for row in rows[2:]] == [1, 1]
        assert len({(row.job_id, row.attempt, row.output) for row in rows[1:]}) == 1
        assert [row.file_hash for row in rows] == [data] * 4
        assert {row.new_status for row in rows} == {COMPLETED}


def test_what_is_only_validated_is_cut_without_a_page_to_go_on_with(
    service: calls.Service,
) -> None:
    configs = [calls.config("no_input", parameters={"row": row}) for row in range(3)]
    answer = service.simulate(*configs, validate_only=True, max_response_bytes=1)
    assert (len(answer.results), answer.statistics.total_jobs) == (1, 3)
    assert (answer.batch_id, answer.next_page_token) == ("", "")


def test_the_times_of_a_job_are_in_order_and_those_of_its_row(service: calls.Service) -> None:
    data = service.upload(b"in order\n")
    for config in (calls.config("echo", data), calls.config("exit", data, {"code": 3})):
        for attempt in (1, 2):
            row = service.run(config, cache_policy=types_pb2.CACHE_POLICY_REFRESH)
            job = service.job(row.job_id)
            newest = job.attempts[-1]
            assert row.attempt == job.attempt == newest.attempt == len(job.attempts) == attempt
            for told in (row, newest):
                assert told.create_time == job.create_time
                assert told.start_time == job.start_time
                assert told.end_time == job.end_time
            moments = [
                moment.ToDatetime()
                for each in job.attempts
                for moment in (each.create_time, each.start_time, each.end_time)
            ]
            assert moments == sorted(moments)
