"""What is asked about batches, read within bounds; the rest raises InvalidRequestError."""

from dshpc.v1 import batch_service_pb2
from dshpc_server import errors
from dshpc_server.batches import overview, untold
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import job_requests, known, moments, resume_tokens

DEFAULT_BATCHES_PER_PAGE = 100
MAX_BATCHES_PER_PAGE = 1000
_NOWHERE = untold.Position(changed_at=-1, ended_rows=-1)
"""Where no batch stands: for who knows nothing of what there is."""


def wait(
    asked: batch_service_pb2.GetBatchRequest,
    tokens: resume_tokens.ResumeTokens,
    max_seconds: float,
    seconds_left: float | None,
) -> overview.Wait:
    """Read what is waited for, and how long."""
    known.refuse_unknown("wait", asked.wait)
    seconds = moments.seconds(asked.wait)
    if seconds < 0:
        raise _invalid("wait", "must not be negative")
    known_position = None
    if asked.if_changed_since:
        token = asked.if_changed_since
        known_position = tokens.position("if_changed_since", token, asked.batch_id) or _NOWHERE
    return overview.Wait(
        seconds=job_requests.bounded(min(seconds, max_seconds), seconds_left),
        known=known_position,
    )


def batches_per_page(asked: int) -> int:
    """Read a page size: 0 is the default, larger than the maximum means the maximum."""
    if asked < 0:
        raise _invalid("page_size", "must not be negative")
    return min(asked or DEFAULT_BATCHES_PER_PAGE, MAX_BATCHES_PER_PAGE)


def _invalid(field: str, description: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(Violation(field=field, description=description))
