"""Reading a failed call, of either kind of channel, and telling it in one sentence."""

import contextlib
import dataclasses
import typing
from collections.abc import Iterator

import grpc
from google.protobuf import message
from google.rpc import error_details_pb2, status_pb2

from dshpc.client import errors

_DETAILS_KEY = "grpc-status-details-bin"
_NOT_CONNECTED = "failed to connect to all addresses"
_NOT_RESOLVED = "hostname lookup error:"


@contextlib.contextmanager
def translated(target: str) -> Iterator[None]:
    """Turn a failed call to this server inside the block into the client's errors."""
    try:
        yield
    except grpc.RpcError as error:
        raise read(error, target=target) from error


def read(error: grpc.RpcError, *, target: str) -> errors.CallError:
    """Return the error that a failed call to this server stands for."""
    call = typing.cast("grpc.Call", error)  # what a client's stub raises is always both
    code = call.code()
    sentence = _sentence(code, call.details() or code.name, target=target)
    failure = errors.Failure(code=code, message=sentence)
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            failure = _with_details(failure, value)
    return errors.of(failure)


def _sentence(code: grpc.StatusCode, details: str, *, target: str) -> str:
    """Say what happened; of a server that does not answer, say which."""
    if code is grpc.StatusCode.UNAVAILABLE and details.startswith(_NOT_CONNECTED):
        # gRPC puts what happened behind several phrases that say nothing.
        return f"cannot reach the server at {target}: {details.rpartition(': ')[2]}"
    if code is grpc.StatusCode.UNAVAILABLE and _NOT_RESOLVED in details:
        problem = details.partition(_NOT_RESOLVED)[2].rstrip("]")
        return f"cannot reach the server at {target}: {problem}"
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"the server at {target} is unavailable: {details}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the server at {target} did not answer in time: {details}"
    return details


def _with_details(failure: errors.Failure, packed: bytes) -> errors.Failure:
    """Add what the server attached; details that cannot be read are left out."""
    violations: list[errors.Violation] = []
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


def _violation(field: str, description: str) -> errors.Violation:
    return errors.Violation(field=field, description=description)
