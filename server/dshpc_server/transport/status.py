"""The one table from errors to gRPC status codes and their details.

Promises: nothing but what an error carries reaches a client; the message is at most 1 KiB and the
details at most 4 KiB (longer trailers lose the status itself, grpc issue 37852); a bug is INTERNAL
with an incident id and nothing else.
"""

import dataclasses

import grpc
from google.protobuf import duration_pb2
from google.protobuf import message as protobuf_message
from google.rpc import error_details_pb2, status_pb2

from dshpc_server import errors
from dshpc_server.transport import encoder

MAX_MESSAGE_CHARACTERS = 256
"""At most 4 bytes each: 1 KiB."""
MAX_DETAILS_BYTES = 4096
DETAILS_KEY = "grpc-status-details-bin"
LIMIT_RETRY_SECONDS = 1.0
"""Advice for a client that went over a limit: ask for less, later."""
STOPPING_RETRY_SECONDS = 1.0
"""Advice for a client whose call was ended because the server stops."""
_MAX_VIOLATIONS_BYTES = 2560
"""Leaves room for the message beside it; the largest single violation is 1.5 KiB."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallStatus:
    """How a call ends."""

    code: grpc.StatusCode
    message: str
    details: tuple[protobuf_message.Message, ...] = ()

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The details as google.rpc.Status, cut to what fits; empty without details."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            any_detail = encoder.packed(detail)
            if status.ByteSize() + any_detail.ByteSize() + 8 > MAX_DETAILS_BYTES:
                break
            status.details.append(any_detail)
        return ((DETAILS_KEY, status.SerializeToString()),) if status.details else ()


def of(error: Exception) -> CallStatus | None:
    """Return the status of an error that callers are told about; None when it is a bug here."""
    text = str(error)[:MAX_MESSAGE_CHARACTERS]
    match error:
        case errors.InvalidRequestError():
            return CallStatus(
                code=grpc.StatusCode.INVALID_ARGUMENT,
                message=text,
                details=(_bad_request(error),),
            )
        case errors.NotFoundError():
            return CallStatus(
                code=grpc.StatusCode.NOT_FOUND,
                message=text,
                details=(
                    error_details_pb2.ResourceInfo(
                        resource_type=error.kind, resource_name=error.name[:256]
                    ),
                ),
            )
        case errors.LimitExceededError():
            return CallStatus(
                code=grpc.StatusCode.RESOURCE_EXHAUSTED,
                message=text,
                details=(
                    error_details_pb2.QuotaFailure(
                        violations=[
                            error_details_pb2.QuotaFailure.Violation(
                                subject=error.limit, description=text
                            )
                        ]
                    ),
                    _retry(LIMIT_RETRY_SECONDS),
                ),
            )
        case errors.UnavailableError():
            return CallStatus(
                code=grpc.StatusCode.UNAVAILABLE,
                message=text,
                details=(_retry(error.retry_after_seconds),),
            )
        case _:
            return None


def of_stopping() -> CallStatus:
    """Return the status of a call that is ended because the server stops."""
    return CallStatus(
        code=grpc.StatusCode.UNAVAILABLE,
        message="the server is stopping",
        details=(_retry(STOPPING_RETRY_SECONDS),),
    )


def of_bug(incident_id: str) -> CallStatus:
    """Return the status of a bug, of which nothing is told but a name to find it in the log."""
    return CallStatus(
        code=grpc.StatusCode.INTERNAL, message=f"internal error, incident {incident_id}"
    )


def _bad_request(error: errors.InvalidRequestError) -> error_details_pb2.BadRequest:
    """Return what is wrong, as much of it as fits; the first is always told."""
    told = error_details_pb2.BadRequest()
    for violation in error.violations[: encoder.MAX_VIOLATIONS // 2]:
        told.field_violations.add(
            field=violation.field[:128], description=violation.description[:256]
        )
        if told.ByteSize() > _MAX_VIOLATIONS_BYTES:
            del told.field_violations[-1]
            break
    return told


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)
