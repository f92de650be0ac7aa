"""The identities of the statistics hold in every message, whatever is counted in it."""

import pathlib
from collections.abc import Iterator

import pytest

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, site

ONLY = "CACHE_POLICY_ONLY"
COUNTS = [field.name for field in types_pb2.JobStatistics.DESCRIPTOR.fields][:-2]
"""All but `final` and `as_of`."""


def assert_identities(counts: types_pb2.JobStatistics) -> None:
    by_status = (
        counts.completed_jobs
        + counts.in_progress_jobs
        + counts.failed_jobs
        + counts.cancelled_jobs
        + counts.skipped_jobs
        + counts.not_found_jobs
        + counts.failed_submissions
    )
    by_outcome = (
        counts.found_completed_jobs
        + counts.found_in_progress_jobs
        + counts.submitted_jobs
        + counts.resubmitted_jobs
        + counts.kept_failures
        + counts.not_found_jobs
        + counts.withheld_jobs
        + counts.undecided_jobs
        + counts.failed_submissions
    )
    assert counts.total_jobs == by_status == by_outcome
    assert counts.successful_submissions == counts.submitted_jobs + counts.resubmitted_jobs
    assert counts.final == (counts.in_progress_jobs == 0)
    assert counts.HasField("as_of")


def told(counts: types_pb2.JobStatistics) -> dict[str, int]:
    """The counts that are not zero."""
    assert_identities(counts)
    return {name: getattr(counts, name) for name in COUNTS if getattr(counts, name)}


class Mixture:
    """A job in every situation that a look-up can find; `rows` asks for all of them."""

    def __init__(self, service: calls.Service, folder: pathlib.Path) -> None:
        self._service = service
        self.gate = site.Gate(folder / "gate")
        data = service.upload(b"a mixture\n" + self.gate.content)
        completed = calls.config("echo", data)
        failed = calls.config("exit", data, {"code": 3})
        running = calls.config("hold", service.upload(self.gate.content))
        self.cancelled = site.Gate(folder / "cancelled")
        cancelled = calls.config("hold", service.upload(self.cancelled.content))
        service.simulate(completed, failed, finished=True)
        self.running_id, cancelled_id = (
            row.job_id for row in service.simulate(running, cancelled).results
        )
        for job_id in (self.running_id, cancelled_id):
            service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
        service.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=cancelled_id))
        service.wait_for_status(cancelled_id, types_pb2.JOB_STATUS_CANCELLED)
        new = calls.config("parameters", data)
        self.rows = [
            completed,
            running,
            self._only(failed),
            self._only(cancelled),
            calls.config("absent", data),
            calls.config("parameters", data, {"never": "run"}, cache_policy=ONLY),
            failed,
            new,
            new,
        ]

    def end(self) -> None:
        """Let what runs go on, and wait for it."""
        self.gate.open()
        self._service.wait_for_status(self.running_id, *calls.TERMINAL)

    @staticmethod
    def _only(config: types_pb2.JobConfig) -> types_pb2.JobConfig:
        asked = types_pb2.JobConfig()
        asked.CopyFrom(config)
        asked.cache_policy = types_pb2.CACHE_POLICY_ONLY
        return asked


RESOLVED = {
    "total_jobs": 9,
    "successful_submissions": 2,
    "submitted_jobs": 1,
    "resubmitted_jobs": 1,
    "failed_submissions": 1,
    "completed_jobs": 1,
    "found_completed_jobs": 1,
    "in_progress_jobs": 4,
    "found_in_progress_jobs": 2,
    "failed_jobs": 1,
    "cancelled_jobs": 1,
    "kept_failures": 2,
    "not_found_jobs": 1,
}
"""How the mixture counts before anything has moved."""


@pytest.fixture
def mixture(service: calls.Service, tmp_path: pathlib.Path) -> Iterator[Mixture]:
    """The jobs; the one that is held has ended when this ends."""
    made = Mixture(service, tmp_path)
    yield made
    if service.job(made.running_id).status not in calls.TERMINAL:
        made.end()


def test_what_is_only_validated_is_counted_like_what_is_accepted(
    service: calls.Service, mixture: Mixture
) -> None:
    validated = service.simulate(*mixture.rows, finished=True, validate_only=True)
    assert told(validated.statistics) == RESOLVED
    *_, last = service.stream(*mixture.rows, validate_only=True)
    assert told(last.statistics) == RESOLVED
    accepted = service.simulate(*mixture.rows)
    assert told(accepted.statistics) == RESOLVED
    assert [row.outcome for row in accepted.results] == [row.outcome for row in validated.results]


def test_every_message_of_a_stream_counts_all_rows(
    service: calls.Service, mixture: Mixture
) -> None:
    options = types_pb2.StreamOptions(include_transitions=True)
    options.statistics_interval.FromMilliseconds(100)
    counted: list[types_pb2.JobStatistics] = []
    is_open = False
    for event in service.stream(*mixture.rows, stream=options):
        if event.HasField("progress"):
            counted.append(event.progress)
            if event.progress.in_progress_jobs == 1 and not is_open:
                is_open = True
                mixture.gate.open()
        if event.HasField("statistics"):
            counted.append(event.statistics)
    assert len(counted) >= 2
    for counts in counted:
        assert_identities(counts)
        assert counts.total_jobs == len(mixture.rows)
    assert told(counted[-1]) == {
        **{name: count for name, count in RESOLVED.items() if name != "in_progress_jobs"},
        "completed_jobs": 4,
        "failed_jobs": 2,
    }


def test_the_rows_and_the_statistics_of_an_answer_tell_the_same(
    service: calls.Service, mixture: Mixture
) -> None:
    answer = service.simulate(*mixture.rows)
    asked = batch_service_pb2.ListBatchResultsRequest(batch_id=answer.batch_id)
    listed = service.batches.ListBatchResults(asked).results
    for rows in (answer.results, listed):
        outcomes = [types_pb2.Outcome.Name(row.outcome) for row in rows]
        for count, outcome in (
            ("found_completed_jobs", "OUTCOME_FOUND_COMPLETED"),
            ("found_in_progress_jobs", "OUTCOME_FOUND_IN_PROGRESS"),
            ("submitted_jobs", "OUTCOME_SUBMITTED"),
            ("resubmitted_jobs", "OUTCOME_RESUBMITTED"),
            ("kept_failures", "OUTCOME_FAILURE_KEPT"),
            ("not_found_jobs", "OUTCOME_NOT_FOUND"),
            ("failed_submissions", "OUTCOME_REJECTED"),
        ):
            assert outcomes.count(outcome) == getattr(answer.statistics, count), count
    mixture.end()


def test_whoever_watches_or_reads_the_batch_is_told_the_same_counts(
    service: calls.Service, mixture: Mixture
) -> None:
    batch_id = service.simulate(*mixture.rows).batch_id
    options = types_pb2.StreamOptions(include_transitions=True)
    options.statistics_interval.FromMilliseconds(100)
    asked = batch_service_pb2.WatchBatchRequest(batch_id=batch_id, stream=options)
    counted: list[types_pb2.JobStatistics] = []
    for event in service.batches.WatchBatch(asked, timeout=60):
        counted.append(read(service, batch_id).statistics)
        if event.HasField("accepted"):
            mixture.gate.open()
        if event.HasField("progress"):
            counted.append(event.progress)
        if event.HasField("statistics"):
            counted.append(event.statistics)
    counted.append(read(service, batch_id).statistics)
    for counts in counted:
        assert_identities(counts)
        assert counts.total_jobs == len(mixture.rows)
    assert counted[-1].final
    assert told(counted[-1]) == told(counted[-2])
    listed = service.batches.ListBatches(batch_service_pb2.ListBatchesRequest(page_size=1))
    assert told(listed.batches[0].statistics) == told(counted[-1])


def read(service: calls.Service, batch_id: str) -> batch_service_pb2.Batch:
    return service.batches.GetBatch(batch_service_pb2.GetBatchRequest(batch_id=batch_id)).batch
