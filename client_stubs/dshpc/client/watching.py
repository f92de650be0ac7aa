"""Following one job by long polls: what to ask next, what is news, and when it is over."""

from dshpc.client import errors, requests, retries, statuses
from dshpc.v1 import job_service_pb2, types_pb2

WAIT_SECONDS = 60.0
"""How long one poll waits for a change."""


class JobWatch:
    """A job as the last answer told it."""

    def __init__(self, job_id: str, policy: retries.RetryPolicy) -> None:
        self._job_id = job_id
        self._backoff = retries.Backoff(policy)
        # A server that does not wait must not be asked without a pause.
        self.unchanged_pause_seconds = policy.first_pause_seconds
        self._known: tuple[types_pb2.JobStatus.ValueType, int] | None = None
        self.is_over = False

    def request(self) -> job_service_pb2.GetJobRequest:
        """Return the next poll: at once at first, then when the status has changed."""
        if self._known is None:
            unknown = types_pb2.JOB_STATUS_UNSPECIFIED
            return requests.job(self._job_id, wait_seconds=None, known_status=unknown)
        status, _ = self._known
        return requests.job(self._job_id, wait_seconds=WAIT_SECONDS, known_status=status)

    def take(self, job: job_service_pb2.Job) -> bool:
        """Learn from an answer; whether it says something new."""
        self._backoff.progressed()
        now = (job.status, job.attempt)
        is_news = now != self._known
        self._known = now
        self.is_over = job.status in statuses.ENDED
        return is_news

    def pause_seconds(self, error: errors.CallError) -> float:
        """Return how long to wait before the next poll; raises the error to give up."""
        return self._backoff.pause_seconds(error)
