"""An instance of every error that a handler may let through, with the code it ends a call with."""

import grpc

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation
from dshpc_server.files import errors as files_errors
from dshpc_server.methods import errors as method_errors
from dshpc_server.transport import edge, upload_parts

A_VIOLATION = Violation(field="jobs", description="at least one job is needed")
REACHING: dict[errors.DshpcError, grpc.StatusCode] = {
    errors.InvalidRequestError(A_VIOLATION): grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError("job", "a"): grpc.StatusCode.NOT_FOUND,
    errors.LimitExceededError("rows", maximum=1, actual=2): grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError("busy", retry_after_seconds=2.5): grpc.StatusCode.UNAVAILABLE,
    errors.NoRoomError("no room", retry_after_seconds=2.5): grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NoAnswerError("no answer", retry_after_seconds=2.5): grpc.StatusCode.UNAVAILABLE,
    errors.BeingRemovedError("file", "a", retry_after_seconds=1.0): grpc.StatusCode.UNAVAILABLE,
    errors.InUseError("file", "a", user="job b"): grpc.StatusCode.FAILED_PRECONDITION,
    errors.RequestReusedError("a"): grpc.StatusCode.FAILED_PRECONDITION,
    errors.NothingToRetryError("a"): grpc.StatusCode.FAILED_PRECONDITION,
    errors.SupersededError("another call goes on"): grpc.StatusCode.ABORTED,
    edge.StalledReaderError(30.0): grpc.StatusCode.RESOURCE_EXHAUSTED,
    files_errors.NotAHashError(): grpc.StatusCode.INVALID_ARGUMENT,
    files_errors.WrongHashError(announced="a", actual="b"): grpc.StatusCode.INVALID_ARGUMENT,
    files_errors.WrongSizeError(announced=1, actual=2): grpc.StatusCode.INVALID_ARGUMENT,
    files_errors.WrongOffsetError(2, 1): grpc.StatusCode.INVALID_ARGUMENT,
    upload_parts.StalledUploaderError(60.0, 0): grpc.StatusCode.RESOURCE_EXHAUSTED,
    method_errors.ParameterError((A_VIOLATION,)): grpc.StatusCode.INVALID_ARGUMENT,
}
"""An instance of every class that a handler may let through."""
