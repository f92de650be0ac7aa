"""Retries by the service itself: by cause, bounded, and every attempt with a history of its own."""

import pathlib
import signal
from collections.abc import Callable, Iterator

import grpc
import pytest

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, fault_runner, job_calls, live_server, site

PENDING = types_pb2.JOB_STATUS_PENDING
RUNNING = types_pb2.JOB_STATUS_RUNNING
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
CANCELLED = types_pb2.JOB_STATUS_CANCELLED
FAILED = types_pb2.JOB_STATUS_FAILED
NODE_FAIL = types_pb2.JOB_STATUS_NODE_FAIL
FAST = {"retry_first_seconds": 0.05, "retry_last_seconds": 0.1}
# Counts its runs; the first so many as its parameters say are temporary failures.
PASSING = (
    'tally=$(cat -- "$1"); echo run >> "$tally"; n=$(wc -l < "$tally"); echo "try $n" >&2; '
    '[ "$n" -gt "$(tr -dc 0-9 < "$2")" ] || exit 75; echo "done at $n"'
)
# Counts its runs, and waits to be let go.
COUNTED = 'tally=$(cat -- "$1"); echo run >> "$tally"; cat -- "$tally.gate"'


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = site.write(tmp_path / "site")
    site.install(folder, "passing", PASSING)
    site.install(folder, "counted", COUNTED)
    site.install(folder, "no_such_command", "", command="surely-not-installed")
    return folder


@pytest.fixture
def tally(tmp_path: pathlib.Path) -> site.Tally:
    return site.Tally(tmp_path / "tally")


Serve = Callable[..., calls.Service]


@pytest.fixture
def serve(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> Iterator[Serve]:
    """Start the server, with these settings; called again it is the server after a kill."""
    started: list[tuple[live_server.ServerProcess, grpc.Channel]] = []

    def end(number: int) -> None:
        for server, channel in started:
            channel.close()
            server.stop(number)

    def start(**flags: object) -> calls.Service:
        end(signal.SIGKILL)
        server = live_server.ServerProcess(tmp_path, methods_dir, **FAST | flags)
        started.append((server, grpc.insecure_channel(server.address)))
        return calls.Service(started[-1][1])

    yield start
    end(signal.SIGTERM)
    live_server.wait_until_gone(tmp_path / "data")


def log_of(service: calls.Service, job_id: str, attempt: int) -> bytes:
    parts = job_calls.log(service, job_id, attempt=attempt)
    return b"".join(part.data for part in parts)


def test_a_temporary_failure_is_run_again_and_each_attempt_keeps_its_own_history(
    serve: Serve, tally: site.Tally
) -> None:
    service = serve()
    config = calls.config("passing", service.upload(tally.content), {"failures": 2})
    accepted, result, closing = service.stream(config)
    # For who waits there is one run, which ends once.
    row = result.result
    assert (row.new_status, row.attempt, row.output) == (COMPLETED, 3, "done at 3\n")
    assert (row.outcome, row.old_status) == (types_pb2.OUTCOME_SUBMITTED, 0)
    assert closing.statistics.completed_jobs == closing.statistics.submitted_jobs == 1
    job = service.job(row.job_id)
    assert [(each.status, each.exit_code) for each in job.attempts] == [
        (FAILED, 75),
        (FAILED, 75),
        (COMPLETED, 0),
    ]
    assert [each.reason for each in job.attempts] == ["Exit code 75 (temporary failure)"] * 2 + [""]
    for number, each in enumerate(job.attempts, 1):
        assert log_of(service, job.job_id, number) == b"try %d\n" % number
        times = [each.create_time, each.start_time, each.end_time]
        assert [time.ToNanoseconds() for time in times] == sorted(
            time.ToNanoseconds() for time in times
        )
        assert each.node
    assert len({each.engine_job_id for each in job.attempts}) == 3
    page = service.batches.ListBatchResults(
        batch_service_pb2.ListBatchResultsRequest(batch_id=accepted.accepted.batch_id)
    )
    assert list(page.results) == [row]
    assert tally.runs == 3


def test_the_transitions_of_a_retried_job_lead_back_to_the_queue_and_never_to_an_end(
    serve: Serve, tally: site.Tally
) -> None:
    service = serve()
    config = calls.config("passing", service.upload(tally.content), {"failures": 1})
    stream = service.stream(config, stream=types_pb2.StreamOptions(include_transitions=True))
    told = [event.result for event in stream if event.HasField("result")]
    seen = [(row.attempt, row.new_status) for row in told]
    assert (2, PENDING) in seen
    assert [row for row in seen if row[1] in calls.TERMINAL] == [(2, COMPLETED)]
    assert [attempt for attempt, _ in seen] == sorted(attempt for attempt, _ in seen)


def test_retries_end_and_what_is_asked_for_again_begins_a_new_chain(
    serve: Serve, tally: site.Tally
) -> None:
    service = serve(max_retries=2, max_attempts=2)
    config = calls.config("passing", service.upload(tally.content), {"failures": 99})
    first = service.run(config)
    assert (first.new_status, first.attempt, first.exit_code) == (FAILED, 3, 75)
    assert tally.runs == 3
    second = service.run(config)
    assert (second.outcome, second.old_status) == (types_pb2.OUTCOME_RESUBMITTED, FAILED)
    assert (second.new_status, second.attempt) == (FAILED, 6)
    assert tally.runs == 6
    # A chain counts as one failure, so these were two.
    kept = service.run(config)
    assert (kept.outcome, kept.old_status) == (types_pb2.OUTCOME_FAILURE_KEPT, FAILED)
    assert tally.runs == 6


def test_what_waits_for_its_retry_says_so_and_can_be_cancelled(
    serve: Serve, tally: site.Tally
) -> None:
    service = serve(retry_first_seconds=300, retry_last_seconds=300)
    config = calls.config("passing", service.upload(tally.content), {"failures": 99})
    job_id = service.ask(config).job_id
    ending = service.jobs.GetJob.future(
        job_service_pb2.GetJobRequest(job_id=job_id, wait=job_calls.duration(60)), timeout=60
    )
    live_server.wait_for(lambda: service.job(job_id).attempt == 2, "the first attempt to fail")
    job = service.job(job_id)
    assert job.status == PENDING
    assert job.reason.startswith("Retry 1 of 3 after FAILED, not before 20")
    assert [each.status for each in job.attempts] == [FAILED, PENDING]
    found = service.ask(config)
    assert (found.outcome, found.new_status) == (types_pb2.OUTCOME_FOUND_IN_PROGRESS, PENDING)
    assert not ending.done()  # for the failure was no end
    cancelled = job_calls.cancel(service, job_id, "no more")
    assert (cancelled.status, cancelled.reason) == (CANCELLED, "Cancelled: no more")
    assert ending.result().job.status == CANCELLED
    assert tally.runs == 1


def test_a_retry_that_waits_outlives_its_server(serve: Serve, tally: site.Tally) -> None:
    service = serve(retry_first_seconds=3, retry_last_seconds=3)
    config = calls.config("passing", service.upload(tally.content), {"failures": 1})
    job_id = service.ask(config).job_id
    live_server.wait_for(lambda: service.job(job_id).attempt == 2, "the first attempt to fail")
    service = serve()
    row = service.run(config)
    assert (row.new_status, row.attempt, row.output) == (COMPLETED, 2, "done at 2\n")
    assert tally.runs == 2


def test_a_job_whose_runner_was_killed_runs_again(
    serve: Serve, tally: site.Tally, tmp_path: pathlib.Path
) -> None:
    service = serve()
    config = calls.config("counted", service.upload(tally.content))
    job_id = service.ask(config).job_id
    service.wait_for_status(job_id, RUNNING)
    live_server.wait_for(lambda: tally.runs == 1, "the first run")
    stream = service.stream(config)
    accepted = next(stream)
    assert fault_runner.kill(tmp_path / "data") == 1
    live_server.wait_for(lambda: tally.runs == 2, "the second run")
    tally.gate.open(b"again\n")
    row = next(stream).result
    assert (row.new_status, row.attempt, row.output) == (COMPLETED, 2, "again\n")
    assert (row.outcome, row.old_status) == (types_pb2.OUTCOME_FOUND_IN_PROGRESS, 0)
    assert next(stream).statistics.completed_jobs == accepted.accepted.total_jobs == 1
    assert [each.status for each in service.job(job_id).attempts] == [NODE_FAIL, COMPLETED]
    assert tally.runs == 2


def test_what_can_never_be_started_is_tried_once(serve: Serve) -> None:
    service = serve()
    row = service.run(calls.config("no_such_command", service.upload(b"data")))
    assert (row.new_status, row.attempt) == (types_pb2.JOB_STATUS_BOOT_FAIL, 1)


def test_a_server_may_be_told_to_retry_nothing(serve: Serve, tally: site.Tally) -> None:
    service = serve(max_retries=0)
    config = calls.config("passing", service.upload(tally.content), {"failures": 1})
    row = service.run(config)
    assert (row.new_status, row.attempt) == (FAILED, 1)
    assert tally.runs == 1
