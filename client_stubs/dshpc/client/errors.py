"""What can go wrong for a client: one tree, and the one place that reads a failed call.

`str(error)` is one sentence for people; attributes carry what a program needs. A job that fails is
never an error here: it is a row of the answer.
"""

import contextlib
import dataclasses
import pathlib
import typing
from collections.abc import Iterator

import grpc
from google.protobuf import message
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


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


class IncompleteStreamError(DshpcError):
    """A stream ended without `statistics`; its batch goes on at the server.

    The cause, where there is one, is the `CallError` that ended the stream.
    """

    def __init__(self, batch_id: str, *, reason: str) -> None:
        super().__init__(f"the stream of batch {batch_id} ended without statistics: {reason}")
        self.batch_id = batch_id
        self.reason = reason


_ERRORS: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.UNAVAILABLE: ServerUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOutError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceededError,
    grpc.StatusCode.UNAUTHENTICATED: AccessDeniedError,
    grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
}


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn a failed call inside the block into this module's errors."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc(error) from error


def from_rpc(error: grpc.RpcError) -> CallError:
    """Return the error that a failed call stands for."""
    call = typing.cast("grpc.Call", error)  # what a client's stub raises is always both
    code = call.code()
    message_text = call.details() or code.name
    failure = Failure(code=code, message=message_text)
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            failure = _with_details(failure, value)
    return _ERRORS.get(code, ServerError)(failure)


def _with_details(failure: Failure, packed: bytes) -> Failure:
    """Add what the server attached; details that cannot be read are left out."""
    violations: list[Violation] = []
    retry_after_seconds = None
    bad_request = error_details_pb2.BadRequest()
    quota = error_details_pb2.QuotaFailure()
    retry = error_details_pb2.RetryInfo()
    try:
        for detail in status_pb2.Status.FromString(packed).details:
            if detail.Unpack(bad_request):
                violations += [
                    _violation(v.field, v.description) for v in bad_request.field_violations
                ]
            elif detail.Unpack(quota):
                violations += [_violation(v.subject, v.description) for v in quota.violations]
            elif detail.Unpack(retry):
                retry_after_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    except message.DecodeError:
        return failure
    return dataclasses.replace(
        failure, violations=tuple(violations), retry_after_seconds=retry_after_seconds
    )


def _violation(field: str, description: str) -> Violation:
    return Violation(field=field, description=description)
