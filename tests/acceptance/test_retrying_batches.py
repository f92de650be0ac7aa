"""RetryBatch over the wire: a new batch of what ended and did not complete."""

import pathlib
import uuid

import grpc

from dshpc.v1 import batch_service_pb2, types_pb2
from support import batch_calls, calls, job_calls, live_server, site

CANCELLED = types_pb2.JOB_STATUS_CANCELLED
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
FAILED = types_pb2.JOB_STATUS_FAILED
RESUBMITTED = types_pb2.OUTCOME_RESUBMITTED
REJECTED = types_pb2.OUTCOME_REJECTED
SUBMITTED = types_pb2.OUTCOME_SUBMITTED


def failing_once(service: calls.Service, folder: pathlib.Path) -> types_pb2.JobConfig:
    """A job that fails the first time it is run, and then never again."""
    return calls.config("fail_once", service.upload(str(folder / "marker").encode()))


def ask_to_retry(batch_id: str, request_id: str = "") -> batch_service_pb2.RetryBatchRequest:
    return batch_service_pb2.RetryBatchRequest(batch_id=batch_id, request_id=request_id)


def test_what_failed_was_cancelled_or_rejected_is_asked_for_again_and_nothing_else(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config(
        "hold",
        service.upload(gate.content),
        {"n": 1},
        config_id="held",
        resources={"cpus": 2},
        timeout="77.5s",
    )
    missing = site.hash_of(b"comes later\n")
    late = calls.config("echo", missing, config_id="late", timeout="33s")
    once = failing_once(service, tmp_path)
    done = calls.config("no_input", parameters={"of": "retrying"})
    nobody = calls.config("nobody", config_id="nobody")
    answer = service.simulate(done, once, held, late, nobody, display_name="my batch")
    before = answer.results
    service.wait_for_status(before[1].job_id, FAILED)
    service.wait_for_status(before[0].job_id, COMPLETED)
    batch_calls.cancel(service, answer.batch_id, 2)
    batch_calls.wait_for_statuses(service, answer.batch_id, [COMPLETED, FAILED, CANCELLED, 0, 0])
    service.upload(b"comes later\n")

    batch = batch_calls.retry(service, answer.batch_id)
    assert batch.batch_id != answer.batch_id
    assert batch.display_name == "my batch"
    assert batch.statistics.total_jobs == 4
    gate.open()
    batch_calls.wait_for_statuses(service, batch.batch_id, [COMPLETED, COMPLETED, COMPLETED, 0])
    rows = batch_calls.rows(service, batch.batch_id)
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert [row.outcome for row in rows] == [RESUBMITTED, RESUBMITTED, SUBMITTED, REJECTED]
    assert [row.old_status for row in rows] == [FAILED, CANCELLED, 0, 0]
    assert [row.config_id for row in rows] == ["", "held", "late", "nobody"]
    assert [row.job_id for row in rows][:2] == [before[1].job_id, before[2].job_id]
    assert [row.function_hash for row in rows][:2] == [
        before[1].function_hash,
        before[2].function_hash,
    ]
    assert rows[1].parameters == before[2].parameters
    assert rows[2].output == "comes later\n"
    assert rows[3].message == before[4].message
    # The old batch stays as it was.
    assert batch_calls.statuses(service, answer.batch_id) == [COMPLETED, FAILED, CANCELLED, 0, 0]


def test_of_a_batch_without_such_rows_there_is_nothing_to_retry(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content))
    batch_id = service.simulate(held, calls.config("no_input")).batch_id
    refused = job_calls.refused(service.batches.RetryBatch, ask_to_retry(batch_id))
    assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.text == f"batch '{batch_id}' has no row that ended without completing"
    unknown = job_calls.refused(service.batches.RetryBatch, ask_to_retry("nobody"))
    assert unknown.code == grpc.StatusCode.NOT_FOUND
    unnamed = job_calls.refused(service.batches.RetryBatch, ask_to_retry(batch_id, "mine"))
    assert unnamed.code == grpc.StatusCode.INVALID_ARGUMENT
    assert unnamed.text.startswith("request_id: must be a UUID")
    gate.open()
    batch_calls.wait_for_statuses(service, batch_id, [COMPLETED, COMPLETED])


def test_asked_again_under_its_name_the_same_new_batch_is_answered(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    first = service.simulate(failing_once(service, tmp_path), finished=True)
    other = service.simulate(calls.config("nobody"))
    name = str(uuid.uuid4())
    batch = batch_calls.retry(service, first.batch_id, name)
    batch_calls.wait_for_statuses(service, batch.batch_id, [COMPLETED])
    again = batch_calls.retry(service, first.batch_id, name.upper())
    assert again.batch_id == batch.batch_id
    refused = job_calls.refused(service.batches.RetryBatch, ask_to_retry(other.batch_id, name))
    assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
    assert name in refused.text


def test_a_batch_that_was_withdrawn_is_retried_and_finds_what_goes_on(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content))
    other = service.simulate(held).batch_id
    mine = service.simulate(held).batch_id
    assert batch_calls.counts(batch_calls.cancel(service, mine)) == (0, 1, 0)
    batch = batch_calls.retry(service, mine)
    (row,) = batch_calls.rows(service, batch.batch_id)
    assert row.outcome == types_pb2.OUTCOME_FOUND_IN_PROGRESS
    gate.open()
    for each in (other, batch.batch_id):
        batch_calls.wait_for_statuses(service, each, [COMPLETED])
    assert batch_calls.statuses(service, mine) == [CANCELLED]


def test_the_version_that_ran_is_the_version_that_is_retried(
    tmp_path: pathlib.Path,
) -> None:
    methods_dir = site.write(tmp_path)
    site.install(methods_dir, "changes", 'echo old; exit "$(cat -- "$(cat -- "$1")")"')
    gate = tmp_path / "code"
    gate.write_text("3")
    settings = live_server.settings(tmp_path, methods_dir, methods_reload_seconds=0.1)
    with live_server.in_thread(settings) as address, grpc.insecure_channel(address) as channel:
        service = calls.Service(channel)
        config = calls.config("changes", service.upload(str(gate).encode()))
        first = service.simulate(config, finished=True)
        old = first.results[0].function_hash
        site.install(methods_dir, "changes", 'echo new; exit "$(cat -- "$(cat -- "$1")")"')
        live_server.wait_for(
            lambda: (
                service.ask(config, validate_only=True).function_hash != old
                or service.ask(config, validate_only=True).job_id != first.results[0].job_id
            ),
            "the new version",
        )
        gate.write_text("0")
        batch = batch_calls.retry(service, first.batch_id)
        batch_calls.wait_for_statuses(service, batch.batch_id, [COMPLETED])
        (row,) = batch_calls.rows(service, batch.batch_id)
        assert (row.function_hash, row.output) == (old, "old\n")
        assert row.job_id == first.results[0].job_id


def test_what_only_looked_is_run_when_it_is_retried(service: calls.Service) -> None:
    config = calls.config("no_input", parameters={"only": "looked for"})
    only = service.simulate(config, cache_policy=types_pb2.CACHE_POLICY_ONLY)
    assert only.results[0].outcome == types_pb2.OUTCOME_NOT_FOUND
    config.cache_policy = types_pb2.CACHE_POLICY_ONLY
    also_only = service.simulate(config)
    for batch_id in (only.batch_id, also_only.batch_id):
        batch = batch_calls.retry(service, batch_id)
        batch_calls.wait_for_statuses(service, batch.batch_id, [COMPLETED])
