"""The one table from errors to gRPC status codes and their details.

Promises: nothing but what an error carries reaches a client; the message is at most 1 KiB as it
travels and the details at most 4 KiB (longer trailers lose the status itself, grpc issue 37852); a
message holds nothing that a terminal would obey; a bug is INTERNAL with an incident id and nothing
else. `docs/errors.md` lists what callers meet.
"""

import dataclasses
import urllib.parse

import grpc
from google.protobuf import duration_pb2
from google.protobuf import message as protobuf_message
from google.rpc import error_details_pb2, status_pb2

from dshpc_server import errors
from dshpc_server.transport import encoder, room

MAX_MESSAGE_BYTES = 1024
"""Percent-encoded, as HTTP/2 carries it: three bytes for one that is not printable ASCII."""
MAX_DETAILS_BYTES = 4096
DETAILS_KEY = "grpc-status-details-bin"
LIMIT_RETRY_SECONDS = 1.0
"""Advice for a client that went over a limit: ask for less, later."""
IN_USE = "IN_USE"
"""The type of the PreconditionFailure of what cannot be removed."""
NOTHING_TO_RETRY = "NOTHING_TO_RETRY"
"""The type of the PreconditionFailure of a batch that cannot be retried."""
REQUEST_REUSED = "REQUEST_REUSED"
"""The type of the PreconditionFailure of a request under the name of another one."""
SUPERSEDED_RETRY_SECONDS = 1.0
"""Advice for a client whose upload went on in another call: ask how far that one is, later."""
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""What a status message carries as it is."""
_MAX_NAME_CHARACTERS = 256
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
    text = _told(str(error))
    details: tuple[protobuf_message.Message, ...]
    match error:
        case errors.InvalidRequestError():
            code, details = grpc.StatusCode.INVALID_ARGUMENT, (_bad_request(error),)
        case errors.NotFoundError():
            code, details = grpc.StatusCode.NOT_FOUND, (_resource(error),)
        case errors.LimitExceededError():
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            details = (_quota(error.limit, text), _retry(LIMIT_RETRY_SECONDS))
        case errors.InUseError():
            code, details = grpc.StatusCode.FAILED_PRECONDITION, (_in_use(error, text),)
        case errors.RequestReusedError():
            code = grpc.StatusCode.FAILED_PRECONDITION
            details = (_unmet(REQUEST_REUSED, _subject("request", error.request_id), text),)
        case errors.NothingToRetryError():
            code = grpc.StatusCode.FAILED_PRECONDITION
            details = (_unmet(NOTHING_TO_RETRY, _subject("batch", error.batch_id), text),)
        case errors.SupersededError():
            code, details = grpc.StatusCode.ABORTED, (_retry(SUPERSEDED_RETRY_SECONDS),)
        case errors.NoRoomError():
            code, details = grpc.StatusCode.RESOURCE_EXHAUSTED, (_retry(error.retry_after_seconds),)
        case errors.UnavailableError():
            code, details = grpc.StatusCode.UNAVAILABLE, (_retry(error.retry_after_seconds),)
        case _:
            return None
    return CallStatus(code=code, message=text, details=details)


def of_stopping() -> CallStatus:
    """Return the status of a call that is ended because the server stops."""
    return CallStatus(
        code=grpc.StatusCode.UNAVAILABLE,
        message="the server is stopping",
        details=(_retry(room.STOPPING_RETRY_SECONDS),),
    )


def of_bug(incident_id: str) -> CallStatus:
    """Return the status of a bug, of which nothing is told but a name to find it in the log."""
    return CallStatus(
        code=grpc.StatusCode.INTERNAL, message=f"internal error, incident {incident_id}"
    )


def _told(text: str) -> str:
    """Return text as a status message: what is not printable is spelled out, the rest cut."""
    room_left = MAX_MESSAGE_BYTES
    told = []
    for character in text[:MAX_MESSAGE_BYTES]:
        shown = character if character.isprintable() else ascii(character)[1:-1]
        room_left -= len(urllib.parse.quote(shown, safe=_PLAIN))
        if room_left < 0:
            break
        told.append(shown)
    return "".join(told)


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


def _resource(error: errors.NotFoundError) -> error_details_pb2.ResourceInfo:
    return error_details_pb2.ResourceInfo(
        resource_type=error.kind, resource_name=error.name[:_MAX_NAME_CHARACTERS]
    )


def _quota(limit: str, text: str) -> error_details_pb2.QuotaFailure:
    return error_details_pb2.QuotaFailure(
        violations=[error_details_pb2.QuotaFailure.Violation(subject=limit, description=text)]
    )


def _in_use(error: errors.InUseError, text: str) -> error_details_pb2.PreconditionFailure:
    return _unmet(IN_USE, _subject(error.kind, error.name), text)


def _subject(kind: str, name: str) -> str:
    return f"{kind}/{name[:_MAX_NAME_CHARACTERS]}"


def _unmet(kind: str, subject: str, text: str) -> error_details_pb2.PreconditionFailure:
    return error_details_pb2.PreconditionFailure(
        violations=[
            error_details_pb2.PreconditionFailure.Violation(
                type=kind, subject=subject, description=text
            )
        ]
    )


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)
