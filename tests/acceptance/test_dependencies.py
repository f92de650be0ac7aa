"""Batches whose jobs go on from what others made: a real chain, with a fan-in of fifty."""

import json
import pathlib
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2

from dshpc.v1 import batch_service_pb2, file_service_pb2, job_service_pb2, types_pb2
from support import calls, live_server, site
from support import examples_runs as examples

MASKS = 50
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
BLOCKED = types_pb2.JOB_STATUS_BLOCKED
SKIPPED = types_pb2.JOB_STATUS_SKIPPED
FAILED = types_pb2.JOB_STATUS_FAILED
SECONDS = 60.0
END_SECONDS = 120.0
"""A hundred interpreters are started in this time, on a machine that has other things to do."""


@pytest.fixture
def examples_service(tmp_path: pathlib.Path) -> Iterator[calls.Service]:
    """A server of its own with the example methods, in which nothing has run."""
    with (
        live_server.as_process(tmp_path, examples.EXAMPLES / "methods") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield calls.Service(channel)


def output_of(config_id: str) -> types_pb2.InputRef:
    return types_pb2.InputRef(job_output=types_pb2.JobOutputRef(config_id=config_id))


def after(
    config_id: str, condition: types_pb2.Condition.ValueType = types_pb2.CONDITION_SUCCEEDED
) -> types_pb2.Dependency:
    return types_pb2.Dependency(config_id=config_id, condition=condition)


def masks_of(picture: str, *, first_threshold: int) -> list[types_pb2.JobConfig]:
    """Fifty masks of a picture, their features, and a summary; only the first mask is told how."""
    configs = []
    for number in range(1, MASKS + 1):
        threshold = 20 + number if number > 1 else first_threshold
        configs += [
            calls.config(
                "image_threshold",
                picture,
                {"mode": "fixed", "threshold": threshold, "output": "picture"},
                configId=f"mask {number}",
            ),
            types_pb2.JobConfig(
                method_name="mask_features",
                config_id=f"features {number}",
                inputs={"input": output_of(f"mask {number}")},
            ),
        ]
    inputs = {f"mask_{number:02}": output_of(f"features {number}") for number in range(1, 51)}
    # The summary comes first: references may be to what comes later.
    summary = types_pb2.JobConfig(method_name="mask_summary", config_id="summary", inputs=inputs)
    return [summary, *configs]


def rows_of(service: calls.Service, batch_id: str) -> list[types_pb2.MultiJobResult]:
    asked = batch_service_pb2.ListBatchResultsRequest(batch_id=batch_id)
    return list(service.batches.ListBatchResults(asked, timeout=SECONDS).results)


def ended(service: calls.Service, batch_id: str) -> dict[str, types_pb2.MultiJobResult]:
    """Wait until every row has ended; the rows by config_id."""

    def found() -> list[types_pb2.MultiJobResult] | None:
        rows = rows_of(service, batch_id)
        has_ended = all(row.new_status in {*calls.TERMINAL, SKIPPED, 0} for row in rows)
        return rows if has_ended else None

    rows: list[types_pb2.MultiJobResult] = live_server.wait_for(
        found, "the batch to end", seconds=END_SECONDS
    )
    return {row.config_id: row for row in rows}


def executions(service: calls.Service) -> int:
    """How many runs there ever were, of all jobs together."""
    asked = job_service_pb2.ListJobsRequest(page_size=1000)
    return sum(job.attempt for job in service.jobs.ListJobs(asked, timeout=SECONDS).jobs)


def test_a_chain_runs_once_and_after_a_change_exactly_what_depends_on_it(
    examples_service: calls.Service,
) -> None:
    service = examples_service
    picture = service.upload((examples.DATA / "flower.pgm").read_bytes())
    answer = service.simulate(*masks_of(picture, first_threshold=100))
    assert answer.results[0].new_status == BLOCKED
    assert answer.results[0].message.startswith("Waits for config 'features 1', config 'feat")
    rows = ended(service, answer.batch_id)
    assert {row.new_status for row in rows.values()} == {COMPLETED}
    assert executions(service) == len(rows) == 2 * MASKS + 1
    summary = json.loads(rows["summary"].output)
    areas = [json.loads(rows[f"features {number}"].output)["area"] for number in range(1, 51)]
    assert summary["values"] == areas
    assert summary["lowest"] == areas[0] < areas[-1] < areas[1]
    of_first = service.job(rows["features 1"].job_id)
    assert of_first.inputs["input"] == rows["mask 1"].output_hash == rows["features 1"].file_hash

    # Asked again: nothing runs, and everything is answered at once.
    again = service.simulate(*masks_of(picture, first_threshold=100))
    assert again.statistics.final
    assert again.statistics.found_completed_jobs == 2 * MASKS + 1
    assert again.results[0].output == rows["summary"].output
    assert executions(service) == 2 * MASKS + 1

    # Another first mask: that one, its features and the summary run, and nothing else.
    changed = service.simulate(*masks_of(picture, first_threshold=99))
    rows = ended(service, changed.batch_id)
    submitted = [
        row.config_id for row in rows.values() if row.outcome == types_pb2.OUTCOME_SUBMITTED
    ]
    assert submitted == ["summary", "mask 1", "features 1"]
    assert executions(service) == 2 * MASKS + 1 + 3

    # Otsu's threshold is 100: the job is another, its output the same, and so is what comes of it.
    otsu = masks_of(picture, first_threshold=100)
    otsu[1].parameters["mode"] = "otsu"
    rows = ended(service, service.simulate(*otsu).batch_id)
    submitted = [
        row.config_id for row in rows.values() if row.outcome == types_pb2.OUTCOME_SUBMITTED
    ]
    assert submitted == ["mask 1"]
    assert rows["summary"].outcome == types_pb2.OUTCOME_FOUND_COMPLETED
    assert executions(service) == 2 * MASKS + 1 + 3 + 1


def test_what_cannot_run_any_more_is_skipped_and_says_why(service: calls.Service) -> None:
    data = service.upload(b"skip what comes after\n")
    configs = [
        calls.config("exit", data, {"code": 3}, configId="fails"),
        types_pb2.JobConfig(
            method_name="echo", config_id="takes", inputs={"input": output_of("fails")}
        ),
        types_pb2.JobConfig(
            method_name="echo", config_id="takes that", inputs={"input": output_of("takes")}
        ),
        types_pb2.JobConfig(
            method_name="echo",
            file_hash=data,
            config_id="mends",
            depends_on=[after("fails", types_pb2.CONDITION_FAILED)],
        ),
        types_pb2.JobConfig(
            method_name="parameters",
            file_hash=data,
            config_id="cleans up",
            depends_on=[after("takes that", types_pb2.CONDITION_FINISHED)],
        ),
    ]
    rows = ended(service, service.simulate(*configs).batch_id)
    assert {name: row.new_status for name, row in rows.items()} == {
        "fails": FAILED,
        "takes": SKIPPED,
        "takes that": SKIPPED,
        "mends": COMPLETED,
        "cleans up": COMPLETED,
    }
    assert rows["takes"].message.endswith("config 'fails' did not succeed: it is FAILED")
    assert rows["takes that"].error.message == "config 'takes' did not succeed: it is SKIPPED"
    assert rows["takes"].outcome == types_pb2.OUTCOME_WITHHELD
    assert rows["takes"].job_id == ""


def test_a_call_waits_for_rows_that_wait_for_others(service: calls.Service) -> None:
    data = service.upload(b"pass it on\n")
    configs = [
        calls.config("echo", data, {"n": 1}, configId="first"),
        types_pb2.JobConfig(
            method_name="echo", config_id="second", inputs={"input": output_of("first")}
        ),
        types_pb2.JobConfig(
            method_name="exit", config_id="third", inputs={"input": output_of("second")}
        ),
        types_pb2.JobConfig(
            method_name="echo", config_id="fourth", inputs={"input": output_of("third")}
        ),
    ]
    configs[2].parameters["code"] = 1
    answer = service.simulate(*configs, finished=True)
    assert answer.statistics.final
    assert [row.new_status for row in answer.results] == [COMPLETED, COMPLETED, FAILED, SKIPPED]
    assert answer.results[1].output == "pass it on\n"
    assert answer.statistics.skipped_jobs == answer.statistics.withheld_jobs == 1
    configs[0].parameters["n"] = 2
    events = list(service.stream(*configs))
    told = [event.result for event in events if event.HasField("result")]
    assert [row.config_id for row in told][:2] == ["first", "second"]
    assert {row.config_id: row.new_status for row in told} == {
        "first": COMPLETED,
        "second": COMPLETED,
        "third": FAILED,
        "fourth": SKIPPED,
    }
    assert events[-1].statistics.final


def test_another_batch_goes_on_from_a_job_that_is_known(service: calls.Service) -> None:
    first = service.run(calls.config("echo", service.upload(b"known\n")))
    reference = types_pb2.InputRef(job_output=types_pb2.JobOutputRef(job_id=first.job_id))
    again = types_pb2.JobConfig(method_name="parameters", inputs={"input": reference})
    answer = service.simulate(again)
    assert answer.results[0].outcome == types_pb2.OUTCOME_SUBMITTED
    assert answer.results[0].file_hash == first.output_hash
    depends = types_pb2.Dependency(job_id=first.job_id, condition=types_pb2.CONDITION_FAILED)
    never = types_pb2.JobConfig(
        method_name="parameters", file_hash=first.output_hash, depends_on=[depends]
    )
    (row,) = service.simulate(never).results
    assert row.new_status == SKIPPED
    assert row.message.endswith(f"job '{first.job_id}' did not fail: it is COMPLETED")


def wrong(**fields: object) -> types_pb2.JobConfig:
    return calls.config("no_input", "", None, configId="it", **fields)


@pytest.mark.parametrize(
    ("config", "field", "said"),
    [
        (wrong(dependsOn=[{"configId": "x"}]), "jobs[0].depends_on[0]", "config_id 'x'"),
        (wrong(dependsOn=[{"configId": "it"}]), "jobs[0].depends_on[0]", "'it' waits for 'it'"),
        (wrong(dependsOn=[{}]), "jobs[0].depends_on[0]", "neither"),
        (wrong(dependsOn=[{"jobId": "x"}]), "jobs[0].depends_on[0].job_id", "not a job_id"),
        (wrong(dependsOn=[{"jobId": "0" * 64}]), "jobs[0].depends_on[0]", "no job"),
        (
            wrong(dependsOn=[{"configId": "it", "condition": 9}]),
            "jobs[0].depends_on[0].condition",
            "not a value",
        ),
        (
            wrong(inputs={"left": {"jobOutput": {"configId": "x"}}}),
            "jobs[0].inputs.left.job_output",
            "config_id 'x'",
        ),
        (wrong(inputs={"a": {"jobOutput": {}}}), "jobs[0].inputs.a.job_output", "neither"),
        (
            wrong(dependsOn=[{"jobId": "0" * 64, "perSweepIndex": True}]),
            "jobs[0].depends_on[0].per_sweep_index",
            "only with config_id",
        ),
    ],
)
def test_a_reference_that_cannot_be_followed_refuses_the_request(
    service: calls.Service, config: types_pb2.JobConfig, field: str, said: str
) -> None:
    refused = calls.refusal(lambda: service.simulate(config))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    details = error_details_pb2.BadRequest()
    assert any(each.Unpack(details) for each in refused.status.details)
    (violation,) = details.field_violations
    assert violation.field == field
    assert said in violation.description


def test_what_a_waiting_row_needs_is_not_deleted(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content), configId="held")
    needed = service.upload(b"needed later\n")
    waits = types_pb2.JobConfig(method_name="echo", file_hash=needed, depends_on=[after("held")])
    answer = service.simulate(held, waits)
    asked = file_service_pb2.DeleteFileRequest(file_hash=needed)
    refused = calls.refusal(lambda: service.files.DeleteFile(asked, timeout=SECONDS))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert f"row 1 of batch '{answer.batch_id}'" in refused.text
    gate.open(b"go on\n")
    ended(service, answer.batch_id)
    service.files.DeleteFile(asked, timeout=SECONDS)
