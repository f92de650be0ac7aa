"""What can go wrong for a client: one tree, and the one table from status codes to it.

`str(error)` is one sentence for people; attributes carry what a program needs. A job that fails is
never an error here: it is a row of the answer.
"""

import dataclasses
import pathlib

import grpc


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One thing wrong with a request, and where."""

    field: str
    """Path as the request spells it, e.g. `jobs[3].timeout`; or the limit that was exceeded."""
    description: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed call: its status and what the server attached to it."""

    code: grpc.StatusCode
    message: str
    violations: tuple[Violation, ...] = ()
    retry_after_seconds: float | None = None
    """When the server says the same request may succeed."""


class DshpcError(Exception):
    """Whatever this library raises on its own account."""


class CallError(DshpcError):
    """A call that failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.code = failure.code
        self.violations = failure.violations
        self.retry_after_seconds = failure.retry_after_seconds


class ServerUnavailableError(CallError):
    """The server is not reachable, or cannot answer now."""


class TimedOutError(CallError):
    """No answer within the deadline of the call."""


class InvalidRequestError(CallError):
    """The request is malformed; nothing was done. See `violations`."""


class NotFoundError(CallError):
    """What the request names does not exist."""


class LimitExceededError(CallError):
    """The request is over one of the server's limits. See `violations`."""

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later; else it has to ask for less."""
        over = {violation.field for violation in self.violations}
        return self.retry_after_seconds is not None and over <= _PASSING_LIMITS


class PreconditionError(CallError):
    """What was asked for is not possible as things stand, e.g. a file that a job still needs."""


class SupersededError(CallError):
    """Another call has taken over what this one was doing, e.g. an upload of the same content."""


class AccessDeniedError(CallError):
    """The server does not let this client do that."""


class ServerError(CallError):
    """The server failed, or does not know the call."""


class FileChangedError(DshpcError):
    """A local file changed while it was uploaded; nothing was stored."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(f"{path} changed while it was uploaded")
        self.path = path


class CorruptDownloadError(DshpcError):
    """The bytes that came are not those of the hash; nothing was written."""

    def __init__(self, file_hash: str, *, actual_hash: str) -> None:
        super().__init__(f"asked for {file_hash}, got content with hash {actual_hash}")
        self.file_hash = file_hash
        self.actual_hash = actual_hash


class TooLargeError(DshpcError):
    """Content that is larger than the caller wanted to hold in memory."""

    def __init__(self, file_hash: str, *, max_bytes: int) -> None:
        super().__init__(f"{file_hash} is larger than {max_bytes:,} bytes; download it to a file")
        self.file_hash = file_hash
        self.max_bytes = max_bytes


class IncompleteStreamError(DshpcError):
    """A stream ended without `statistics`, and could not be gone on with; its batch goes on.

    The cause is the `CallError` that ended the last attempt. `watch_batch(batch_id,
    resume_token=resume_token)` tells what comes after the last event.
    """

    def __init__(self, batch_id: str, *, reason: str, resume_token: str = "") -> None:
        of_batch = f" of batch {batch_id}" if batch_id else ""
        super().__init__(f"the stream{of_batch} ended without statistics: {reason}")
        self.batch_id = batch_id
        self.reason = reason
        self.resume_token = resume_token


_PASSING_LIMITS = frozenset(
    {"max_calls", "max_streams", "max_uploads", "upload_stall_seconds", "write_stall_seconds"}
)
"""Those of how much is going on, and how fast; the others are of what one request asks for."""

_ERRORS: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.UNAVAILABLE: ServerUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOutError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.ABORTED: SupersededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceededError,
    grpc.StatusCode.UNAUTHENTICATED: AccessDeniedError,
    grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
}


def of(failure: Failure) -> CallError:
    """Return the error that a failed call stands for."""
    return _ERRORS.get(failure.code, ServerError)(failure)
