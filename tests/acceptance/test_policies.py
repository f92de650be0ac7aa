"""What is run and what is kept: policies of look-up and resubmission, counted by the jobs.

Every job here adds a line to a tally of its own when it runs, so the service's word is checked
against what happened.
"""

import itertools
import pathlib
from collections.abc import Callable

import pytest

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, site

Made = tuple[types_pb2.JobConfig, site.Tally]
Counted = Callable[..., Made]
MAX_ATTEMPTS = 5
"""The server's default."""


@pytest.fixture
def counted(service: calls.Service, tmp_path: pathlib.Path) -> Counted:
    """Makes configs of jobs that are counted, each another job."""
    numbers = itertools.count()

    def make(code: int = 0, method: str = "tally") -> Made:
        tally = site.Tally(tmp_path / f"tally-{next(numbers)}")
        data = service.upload(tally.content)
        return calls.config(method, data, {"code": code} if method == "tally" else None), tally

    return make


def outcome(row: types_pb2.MultiJobResult) -> str:
    return types_pb2.Outcome.Name(row.outcome).removeprefix("OUTCOME_")


def status(value: types_pb2.JobStatus.ValueType) -> str:
    return types_pb2.JobStatus.Name(value).removeprefix("JOB_STATUS_")


def test_a_method_that_always_fails_runs_a_bounded_number_of_times(
    service: calls.Service, counted: Counted
) -> None:
    config, tally = counted(3)
    rows = [service.run(config) for _ in range(20)]
    assert [outcome(row) for row in rows] == [
        "SUBMITTED",
        *["RESUBMITTED"] * (MAX_ATTEMPTS - 1),
        *["FAILURE_KEPT"] * (20 - MAX_ATTEMPTS),
    ]
    assert tally.runs == MAX_ATTEMPTS
    for row in rows[1:]:
        assert status(row.old_status) == "FAILED"
    for kept in rows[MAX_ATTEMPTS:]:
        assert (status(kept.new_status), kept.attempt, kept.exit_code) == ("FAILED", 5, 3)
        assert "max_attempts" in kept.message
        assert "REFRESH" in kept.message
        assert kept.error.message.startswith("Exit code 3")


def test_a_thousand_polls_of_a_failed_job_submit_nothing(
    service: calls.Service, counted: Counted
) -> None:
    config, tally = counted(3)
    answer = service.simulate(config, finished=True)
    (first,) = answer.results
    asked = batch_service_pb2.ListBatchResultsRequest(batch_id=answer.batch_id)
    for poll in range(500):
        job = service.job(first.job_id)
        (row,) = service.batches.ListBatchResults(asked).results
        assert (job.attempt, row.attempt) == (1, 1), poll
        assert (job.status, row.new_status) == (types_pb2.JOB_STATUS_FAILED,) * 2
    assert tally.runs == 1


def test_refresh_starts_afresh_after_the_limit(service: calls.Service, counted: Counted) -> None:
    config, tally = counted(3)
    for _ in range(MAX_ATTEMPTS + 1):
        service.run(config)
    refreshed = service.run(config, cache_policy=types_pb2.CACHE_POLICY_REFRESH)
    assert (outcome(refreshed), refreshed.attempt) == ("RESUBMITTED", MAX_ATTEMPTS + 1)
    again = [outcome(service.run(config)) for _ in range(MAX_ATTEMPTS + 1)]
    assert again == [*["RESUBMITTED"] * (MAX_ATTEMPTS - 1), *["FAILURE_KEPT"] * 2]
    assert tally.runs == 2 * MAX_ATTEMPTS


def test_never_keeps_a_failure_and_tells_both_statuses(
    service: calls.Service, counted: Counted
) -> None:
    config, tally = counted(3)
    never = types_pb2.RESUBMIT_POLICY_NEVER
    assert outcome(service.run(config, resubmit_policy=never)) == "SUBMITTED"
    kept = service.ask(config, resubmit_policy=never)
    assert (outcome(kept), status(kept.old_status), status(kept.new_status)) == (
        "FAILURE_KEPT",
        "FAILED",
        "FAILED",
    )
    assert "NEVER" in kept.message
    assert tally.runs == 1


@pytest.mark.parametrize(
    ("code", "expected"), [(1, "RESUBMITTED"), (75, "RESUBMITTED"), (78, "FAILURE_KEPT")]
)
def test_retriable_keeps_what_the_method_called_permanent(
    service: calls.Service, counted: Counted, code: int, expected: str
) -> None:
    config, tally = counted(code)
    service.run(config)
    runs = tally.runs  # of a temporary failure several
    again = service.run(config, resubmit_policy=types_pb2.RESUBMIT_POLICY_RETRIABLE)
    assert outcome(again) == expected
    assert tally.runs == runs * (1 if expected == "FAILURE_KEPT" else 2)


def test_only_looks_and_runs_nothing(service: calls.Service, counted: Counted) -> None:
    only = types_pb2.CACHE_POLICY_ONLY
    config, tally = counted()
    answer = service.simulate(config, cache_policy=only)
    (absent,) = answer.results
    assert (outcome(absent), status(absent.new_status)) == ("NOT_FOUND", "UNSPECIFIED")
    assert len(absent.job_id) == 64
    assert answer.statistics.not_found_jobs == answer.statistics.total_jobs == 1
    assert answer.statistics.final
    assert tally.runs == 0
    completed = service.run(config)
    assert completed.job_id == absent.job_id
    assert outcome(service.ask(config, cache_policy=only)) == "FOUND_COMPLETED"
    failing, _ = counted(4)
    service.run(failing)
    assert outcome(service.ask(failing, cache_policy=only)) == "FAILURE_KEPT"


def test_refresh_runs_a_completed_job_anew_and_replaces_its_answer(
    service: calls.Service, counted: Counted
) -> None:
    config, tally = counted()
    first = service.run(config)
    anew = service.run(config, cache_policy=types_pb2.CACHE_POLICY_REFRESH)
    assert (outcome(anew), anew.attempt, anew.job_id) == ("SUBMITTED", 2, first.job_id)
    found = service.ask(config)
    assert (outcome(found), found.attempt) == ("FOUND_COMPLETED", 2)
    assert tally.runs == 2


def test_bypass_runs_for_itself_and_answers_nobody_else(
    service: calls.Service, counted: Counted
) -> None:
    bypass = types_pb2.CACHE_POLICY_BYPASS
    config, tally = counted()
    assert service.run(config, cache_policy=bypass).attempt == 1
    ordinary = service.run(config)
    assert (outcome(ordinary), ordinary.attempt) == ("SUBMITTED", 2)
    assert service.run(config, cache_policy=bypass).attempt == 3
    found = service.ask(config)
    assert (outcome(found), found.attempt) == ("FOUND_COMPLETED", 2)
    assert tally.runs == 3


def test_a_row_may_have_a_cache_policy_of_its_own(service: calls.Service, counted: Counted) -> None:
    (kept, kept_tally), (anew, anew_tally) = counted(), counted()
    service.simulate(kept, anew, finished=True)
    anew.cache_policy = types_pb2.CACHE_POLICY_REFRESH
    answer = service.simulate(kept, anew, finished=True, cache_policy=types_pb2.CACHE_POLICY_ONLY)
    assert [outcome(row) for row in answer.results] == ["FOUND_COMPLETED", "SUBMITTED"]
    assert (kept_tally.runs, anew_tally.runs) == (1, 2)


def test_validate_only_says_what_would_happen_and_changes_nothing(
    service: calls.Service, counted: Counted
) -> None:
    new, new_tally = counted()
    completed, completed_tally = counted()
    failed, failed_tally = counted(3)
    service.simulate(completed, failed, finished=True)
    absent = calls.config("absent", new.file_hash)
    configs = [new, completed, failed, absent, new]
    before = service.jobs.ListJobs(job_service_pb2.ListJobsRequest()).jobs
    answer = service.simulate(*configs, finished=True, validate_only=True)
    assert answer.batch_id == ""
    assert [outcome(row) for row in answer.results] == [
        "SUBMITTED",
        "FOUND_COMPLETED",
        "RESUBMITTED",
        "REJECTED",
        "FOUND_IN_PROGRESS",
    ]
    assert answer.results[0].message == "New job would be submitted"
    assert len(answer.results[0].job_id) == 64
    assert answer.results[3].message == "Method 'absent' not found"
    assert answer.results[4].duplicate_of_index == 0
    assert [*service.jobs.ListJobs(job_service_pb2.ListJobsRequest()).jobs] == [*before]
    assert (new_tally.runs, completed_tally.runs, failed_tally.runs) == (0, 1, 1)
    events = list(service.stream(*configs, validate_only=True))
    assert events[0].accepted == job_service_pb2.BatchAccepted(total_jobs=5)
    told = [event.result.outcome for event in events[1:-1]]
    assert told == [row.outcome for row in answer.results]
    assert service.run(new).job_id == answer.results[0].job_id


def test_outputs_are_inline_up_to_what_the_caller_asks(service: calls.Service) -> None:
    large = calls.config("big", service.upload(b"big\n"), {"bytes": 200_000})
    small = calls.config("big", service.upload(b"big\n"), {"bytes": 1000})
    service.simulate(large, small, finished=True)

    def told(limit: int | None) -> list[tuple[int, bool]]:
        answer = service.simulate(large, small, max_inline_output_bytes=limit)
        listed = service.batches.ListBatchResults(
            batch_service_pb2.ListBatchResultsRequest(
                batch_id=answer.batch_id, max_inline_output_bytes=limit
            )
        )
        events = service.stream(large, small, max_inline_output_bytes=limit)
        streamed = [event.result for event in events if event.HasField("result")]
        lengths = [(len(row.output), row.output_truncated) for row in answer.results]
        for rows in (listed.results, streamed):
            assert [(len(row.output), row.output_truncated) for row in rows] == lengths
        return lengths

    assert told(None) == [(0, True), (1000, False)]
    assert told(1 << 20) == [(200_000, False), (1000, False)]
    assert told(999) == [(0, True), (0, True)]
    assert told(0) == [(0, True), (0, True)]
