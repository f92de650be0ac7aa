"""Short words for what tests ask about batches: their rows, cancelling them, retrying them."""

from collections.abc import Sequence

from dshpc.v1 import batch_service_pb2, types_pb2
from support import calls, live_server

TIMEOUT_SECONDS = 60


def rows(service: calls.Service, batch_id: str) -> list[types_pb2.MultiJobResult]:
    """Every row of a batch, as it stands."""
    found: list[types_pb2.MultiJobResult] = []
    token = ""
    while True:
        page = service.batches.ListBatchResults(
            batch_service_pb2.ListBatchResultsRequest(batch_id=batch_id, page_token=token),
            timeout=TIMEOUT_SECONDS,
        )
        found += page.results
        token = page.next_page_token
        if not token:
            return found


def statuses(service: calls.Service, batch_id: str) -> list[int]:
    """How the rows of a batch stand."""
    return [row.new_status for row in rows(service, batch_id)]


def wait_for_statuses(service: calls.Service, batch_id: str, wanted: Sequence[int]) -> None:
    """Read a batch until its rows stand so."""
    live_server.wait_for(
        lambda: statuses(service, batch_id) == list(wanted), f"{batch_id} to be {wanted}"
    )


def cancel(
    service: calls.Service,
    batch_id: str,
    *indexes: int,
    reason: str = "",
    timeout: float = TIMEOUT_SECONDS,
) -> batch_service_pb2.CancelBatchResponse:
    """Cancel these rows of a batch; without any, all of it."""
    asked = batch_service_pb2.CancelBatchRequest(batch_id=batch_id, reason=reason, indexes=indexes)
    return service.batches.CancelBatch(asked, timeout=timeout)


def counts(answer: batch_service_pb2.CancelBatchResponse) -> tuple[int, int, int]:
    """Cancel requested, detached, already terminal."""
    return answer.cancel_requested, answer.detached, answer.already_terminal


def retry(service: calls.Service, batch_id: str, request_id: str = "") -> batch_service_pb2.Batch:
    """Retry a batch; the new one."""
    asked = batch_service_pb2.RetryBatchRequest(batch_id=batch_id, request_id=request_id)
    return service.batches.RetryBatch(asked, timeout=TIMEOUT_SECONDS).batch


def check_statistics(counts: types_pb2.JobStatistics) -> None:
    """Both sums of the contract."""
    assert counts.total_jobs == (
        counts.completed_jobs
        + counts.in_progress_jobs
        + counts.failed_jobs
        + counts.cancelled_jobs
        + counts.skipped_jobs
        + counts.not_found_jobs
        + counts.failed_submissions
    )
    assert counts.total_jobs == (
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
    assert counts.successful_submissions == counts.submitted_jobs + counts.resubmitted_jobs
