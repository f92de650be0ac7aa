"""Unary batches: waiting, pages, limits, and what is refused."""

import functools
import pathlib
import uuid
from collections.abc import Callable

import grpc
import pytest
from google.rpc import error_details_pb2

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, site


def _raw(channel: grpc.Channel) -> Callable[[bytes], bytes]:
    """SimulateJobs with bytes in and out."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/dshpc.v1.JobService/SimulateJobs"
    )
    return call


def test_a_unary_call_waits_until_all_have_finished(service: calls.Service) -> None:
    data = service.upload(b"wait for me\n")
    answer = service.simulate(
        calls.config("echo", data), calls.config("exit", data, {"code": 2}), finished=True
    )
    assert [row.new_status for row in answer.results] == [
        types_pb2.JOB_STATUS_COMPLETED,
        types_pb2.JOB_STATUS_FAILED,
    ]
    assert answer.statistics.final
    assert answer.statistics.completed_jobs == answer.statistics.failed_jobs == 1


def test_a_wait_ends_before_the_callers_deadline_and_loses_nothing(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", service.upload(gate.content))
    answer = service.simulate(config, finished=True, timeout=1.5)
    assert not answer.statistics.final
    assert answer.results[0].new_status in (
        types_pb2.JOB_STATUS_PENDING,
        types_pb2.JOB_STATUS_CONFIGURING,
        types_pb2.JOB_STATUS_RUNNING,
    )
    gate.open(b"in the end\n")
    assert service.run(config).output == "in the end\n"


def test_rows_beyond_the_message_limit_are_left_to_pages(service: calls.Service) -> None:
    data = service.upload(b"x" * 2000)
    configs = [calls.config("echo", data, {"row": row}) for row in range(30)]
    service.simulate(*configs, finished=True)
    answer = service.simulate(*configs, max_response_bytes=20_000)
    assert answer.ByteSize() < 21_000
    assert 0 < len(answer.results) < 30
    assert answer.statistics.total_jobs == answer.statistics.completed_jobs == 30
    rows = list(answer.results)
    token = answer.next_page_token
    while token:
        page = service.batches.ListBatchResults(
            batch_service_pb2.ListBatchResultsRequest(
                batch_id=answer.batch_id, page_size=4, page_token=token
            )
        )
        assert len(page.results) <= 4
        rows += page.results
        token = page.next_page_token
    assert [row.index for row in rows] == list(range(30))
    assert {row.output for row in rows} == {"x" * 2000}


def test_pages_are_filtered_by_status_and_outcome(service: calls.Service) -> None:
    data = service.upload(b"filtered\n")
    answer = service.simulate(
        calls.config("echo", data),
        calls.config("exit", data, {"code": 9}),
        calls.config("nope", data),
        finished=True,
    )

    def rows(**wanted: list[int]) -> list[int]:
        page = service.batches.ListBatchResults(
            batch_service_pb2.ListBatchResultsRequest(
                batch_id=answer.batch_id,
                **wanted,  # type: ignore[arg-type] # by name
            )
        )
        return [row.index for row in page.results]

    assert rows() == [0, 1, 2]
    assert rows(statuses=[types_pb2.JOB_STATUS_FAILED]) == [1]
    assert rows(outcomes=[types_pb2.OUTCOME_REJECTED]) == [2]


def test_a_row_goes_on_showing_the_attempt_that_answered_it(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    config = calls.config("fail_once", service.upload(bytes(tmp_path / "marker")))
    first = service.simulate(config, finished=True)
    assert first.results[0].new_status == types_pb2.JOB_STATUS_FAILED
    second = service.simulate(config, finished=True)
    assert second.results[0].old_status == types_pb2.JOB_STATUS_FAILED
    assert second.results[0].new_status == types_pb2.JOB_STATUS_COMPLETED
    assert second.results[0].attempt == 2
    page = service.batches.ListBatchResults(
        batch_service_pb2.ListBatchResultsRequest(batch_id=first.batch_id)
    )
    assert list(page.results) == list(first.results)


def test_a_token_of_another_request_is_refused(service: calls.Service) -> None:
    data = service.upload(b"tokens\n")
    configs = [calls.config("parameters", data, {"row": row}) for row in range(3)]
    answer = service.simulate(*configs, max_response_bytes=1)
    assert len(answer.results) == 1
    for asked in (
        {"batch_id": answer.batch_id, "page_token": "nonsense"},
        {"batch_id": answer.batch_id, "page_token": answer.next_page_token, "outcomes": [3]},
        {"batch_id": answer.batch_id, "page_size": -1},
        {"batch_id": answer.batch_id, "statuses": [99]},
    ):
        call = functools.partial(
            service.batches.ListBatchResults,
            batch_service_pb2.ListBatchResultsRequest(**asked),
        )
        assert calls.refusal(call).code == grpc.StatusCode.INVALID_ARGUMENT
    service.simulate(*configs, finished=True)


def test_an_unknown_batch_or_job_is_not_found(service: calls.Service) -> None:
    batch = batch_service_pb2.ListBatchResultsRequest(batch_id=str(uuid.uuid4()))
    unknown = calls.refusal(lambda: service.batches.ListBatchResults(batch))
    assert unknown.code == grpc.StatusCode.NOT_FOUND
    assert calls.refusal(lambda: service.job("0" * 64)).code == grpc.StatusCode.NOT_FOUND
    no_hash = calls.refusal(lambda: service.job("no hash"))
    assert no_hash.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_message", "field"),
    [
        (job_service_pb2.SimulateJobsRequest(), "jobs"),
        (
            job_service_pb2.SimulateJobsRequest(
                jobs=[types_pb2.JobConfig(config_id="a"), types_pb2.JobConfig(config_id="a")]
            ),
            "jobs[1].config_id",
        ),
        (
            job_service_pb2.SimulateJobsRequest(
                jobs=[types_pb2.JobConfig()],
                options=types_pb2.BatchOptions(max_response_bytes=1 << 30),
            ),
            "options.max_response_bytes",
        ),
        (
            job_service_pb2.SimulateJobsRequest(
                jobs=[types_pb2.JobConfig()],
                wait=types_pb2.WaitPolicy(until=77),  # type: ignore[arg-type] # not a value
            ),
            "wait.until",
        ),
    ],
)
def test_a_malformed_request_is_refused_with_the_field_and_accepts_nothing(
    service: calls.Service, request_message: job_service_pb2.SimulateJobsRequest, field: str
) -> None:
    refused = calls.refusal(lambda: service.jobs.SimulateJobs(request_message))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert field in refused.text
    bad_request = error_details_pb2.BadRequest()
    assert refused.status.details[0].Unpack(bad_request)
    assert bad_request.field_violations[0].field == field


def test_a_field_of_a_newer_contract_is_refused_not_ignored(
    service: calls.Service, grpc_channel: grpc.Channel
) -> None:
    data = service.upload(b"newer\n")
    known = job_service_pb2.SimulateJobsRequest(jobs=[calls.config("echo", data)])
    newer_options = b"\x78\x01"  # field 15, a number
    request = known.SerializeToString() + b"\x12" + bytes([len(newer_options)]) + newer_options
    refused = calls.refusal(lambda: _raw(grpc_channel)(request))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "BatchOptions has no field 15" in refused.text


def test_a_row_with_a_field_of_a_newer_contract_is_rejected_alone(service: calls.Service) -> None:
    data = service.upload(b"newer row\n")
    newer = types_pb2.JobConfig.FromString(
        calls.config("echo", data).SerializeToString() + b"\x78\x02"  # field 15, a number
    )
    answer = service.simulate(newer, calls.config("echo", data), finished=True)
    assert answer.results[0].outcome == types_pb2.OUTCOME_REJECTED
    assert "JobConfig has no field 15" in answer.results[0].message
    assert answer.results[1].new_status == types_pb2.JOB_STATUS_COMPLETED


def test_bytes_that_are_no_request_are_invalid(grpc_channel: grpc.Channel) -> None:
    refused = calls.refusal(lambda: _raw(grpc_channel)(b"\xff\xff\xff"))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "SimulateJobsRequest" in refused.text


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (calls.config("echo", "not a hash"), "file_hash"),
        (calls.config("", "0" * 64), "method_name"),
        (calls.config("echo", "0" * 64, timeout="-1s"), "timeout"),
        (calls.config("echo", "0" * 64, timeout="99999999s"), "max_timeout_seconds"),
        (calls.config("echo", "0" * 64, resources={"cpus": -1}), "resources.cpus"),
        (calls.config("echo", "0" * 64, resources={"gpus": 1}), "gpus: 1 asked, 0 available"),
        (calls.config("echo", "0" * 64, resources={"cpus": 9999}), "cpus: 9999 asked"),
        (calls.config("echo"), "inputs.input: needed"),
        (calls.config("no_input", "0" * 64), "inputs.input: not an input"),
        (calls.config("echo", "0" * 64, inputs={"x": {"fileHash": "0" * 64}}), "file_hash"),
        (calls.config("declared", "0" * 64, {"labl": "x"}), "parameters.labl"),
        (calls.config("declared", "0" * 64, {"label": 3}), "parameters.label"),
        (calls.config("declared", "0" * 64, {"label": "x", "bins": 2.5}), "parameters.bins"),
    ],
)
def test_what_is_wrong_with_a_row_rejects_that_row_alone(
    service: calls.Service, config: types_pb2.JobConfig, said: str
) -> None:
    data = service.upload(b"good row\n")
    answer = service.simulate(config, calls.config("echo", data), finished=True)
    rejected, good = answer.results
    assert rejected.outcome == types_pb2.OUTCOME_REJECTED
    assert rejected.job_id == ""
    assert rejected.new_status == types_pb2.JOB_STATUS_UNSPECIFIED
    assert said in rejected.message
    assert rejected.error.message == rejected.message
    assert good.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert answer.statistics.failed_submissions == 1


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_no_word_for_rejects_the_row(
    service: calls.Service, number: float
) -> None:
    config = calls.config("parameters", service.upload(b"numbers\n"))
    config.parameters.update({"a": [1, number]})
    (rejected,) = service.simulate(config).results
    assert rejected.outcome == types_pb2.OUTCOME_REJECTED
    assert "parameters.a[1]" in rejected.message


def test_parameters_nested_too_deep_reject_the_row(service: calls.Service) -> None:
    value: object = 1
    for _ in range(17):
        value = [value]
    config = calls.config("parameters", service.upload(b"deep\n"), {"a": value})
    (rejected,) = service.simulate(config).results
    assert rejected.outcome == types_pb2.OUTCOME_REJECTED
    assert "max_parameters_depth" in rejected.message


def test_a_missing_file_is_never_stored_as_a_failed_job(service: calls.Service) -> None:
    content = b"uploaded afterwards\n"
    config = calls.config("echo", site.hash_of(content))
    (before,) = service.simulate(config).results
    assert before.outcome == types_pb2.OUTCOME_REJECTED
    assert site.hash_of(content) in before.message
    service.upload(content)
    after = service.run(config)
    assert after.outcome == types_pb2.OUTCOME_SUBMITTED
    assert (after.attempt, after.output) == (1, content.decode())


def test_named_inputs_and_methods_without_input(service: calls.Service) -> None:
    left, right = service.upload(b"left\n"), service.upload(b"right\n")
    both = calls.config(
        "two_inputs", inputs={"right": {"fileHash": right}, "left": {"fileHash": left}}
    )
    assert service.run(both).output == "left\nright\n"
    assert service.run(calls.config("no_input")).output == "input: /dev/null\n"
    same = calls.config("echo", inputs={"input": {"fileHash": left}})
    by_name, by_hash = service.run(same), service.run(calls.config("echo", left))
    assert by_name.job_id == by_hash.job_id
    assert by_name.file_hash == by_hash.file_hash == left


def test_an_output_can_be_an_input(service: calls.Service) -> None:
    first = service.run(calls.config("echo", service.upload(b"chain\n"), {"step": 1}))
    second = service.run(calls.config("echo", first.output_hash, {"step": 2}))
    assert second.output == "chain\n"
    long = service.run(calls.config("echo", service.upload(b"long " * 50_000)))
    assert long.output_truncated
    again = service.run(calls.config("echo", long.output_hash, {"step": 3}))
    assert again.output_hash == long.output_hash


def test_defaults_are_filled_in_and_the_echo_is_what_was_sent(service: calls.Service) -> None:
    data = service.upload(b"defaults\n")
    result = service.run(calls.config("declared", data, {"label": "é"}))
    assert result.output == '{"bins":10,"label":"é"}'
    assert dict(result.parameters) == {"label": "é"}
    spelled_out = service.run(calls.config("declared", data, {"bins": 10, "label": "é"}))
    assert spelled_out.job_id == result.job_id
    assert spelled_out.outcome == types_pb2.OUTCOME_FOUND_COMPLETED
    assert dict(service.job(result.job_id).parameters) == {"bins": 10, "label": "é"}


def test_get_job_tells_what_ran_and_how_it_went(service: calls.Service) -> None:
    data = service.upload(b"details\n")
    result = service.run(calls.config("echo", data, config_id="mine"))
    assert result.config_id == "mine"
    job = service.job(result.job_id)
    assert job.method_name == "echo"
    assert job.function_hash == result.function_hash
    assert dict(job.inputs) == {"input": data}
    assert (job.status, job.output) == (types_pb2.JOB_STATUS_COMPLETED, "details\n")
    assert (job.attempt, job.exit_code, job.engine) == (1, 0, "local")
    assert job.engine_job_id.isdigit()
    assert job.node
    failed = service.run(calls.config("exit", data, {"code": 4}))
    job = service.job(failed.job_id)
    assert (job.exit_code, job.reason) == (4, "Exit code 4")
    assert job.error == failed.error


def test_a_hundred_equal_configs_at_one_instant_run_once(service: calls.Service) -> None:
    config = calls.config("echo", service.upload(b"once\n"), {"run": "once"})
    request = job_service_pb2.SimulateJobsRequest(jobs=[config], wait=calls.until_finished())
    waiting = [service.jobs.SimulateJobs.future(request, timeout=60) for _ in range(100)]
    results = [call.result().results[0] for call in waiting]
    assert {(row.output, row.attempt) for row in results} == {("once\n", 1)}
    outcomes = [row.outcome for row in results]
    assert outcomes.count(types_pb2.OUTCOME_SUBMITTED) == 1
