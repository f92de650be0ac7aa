"""The names of requests: a UUID by the client, and a checksum of everything else that it asks.

Promise: the checksum is of what the request asks for, not of how it was sent or is answered: not of
its name, of how long the call waits, of whether it is a stream, or of how much an answer holds. So
a unary request may be asked again as a stream, and for longer outputs.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Literal

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.domain.rejection import Violation
from dshpc_server.store.records import RequestName

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LENGTH_BYTES = 8
_NOT_ASKED_FOR: tuple[
    Literal["request_id", "max_inline_output_bytes", "max_response_bytes"], ...
] = ("request_id", "max_inline_output_bytes", "max_response_bytes")
"""Options that change nothing of a batch."""


def of_batch(
    asked: job_service_pb2.SimulateJobsRequest | job_service_pb2.StreamSimulateJobsRequest,
) -> RequestName | None:
    """Read the name of a request; None when it has none. It takes a while for many rows."""
    request_id = _request_id("options.request_id", asked.options.request_id)
    if not request_id:
        return None
    options = types_pb2.BatchOptions()
    options.CopyFrom(asked.options)
    for name in _NOT_ASKED_FOR:
        options.ClearField(name)
    messages = (options, *asked.jobs)
    parts = (message.SerializeToString(deterministic=True) for message in messages)
    return RequestName(request_id=request_id, request_hash=_checksum(b"batch", parts))


def of_retry(asked: batch_service_pb2.RetryBatchRequest) -> RequestName | None:
    """Read the name of a request to retry a batch; None when it has none."""
    request_id = _request_id("request_id", asked.request_id)
    if not request_id:
        return None
    checksum = _checksum(b"retry", [asked.batch_id.encode()])
    return RequestName(request_id=request_id, request_hash=checksum)


def _request_id(field: str, text: str) -> str:
    request_id = text.lower()
    if text and not _UUID.fullmatch(request_id):
        raise errors.InvalidRequestError(
            Violation(field=field, description="must be a UUID: 8-4-4-4-12 hex digits")
        )
    return request_id


def _checksum(kind: bytes, parts: Iterable[bytes]) -> str:
    """Return a SHA-256 of the parts, each with its length before it, so that none runs over."""
    hashed = hashlib.sha256(kind)
    for part in parts:
        hashed.update(len(part).to_bytes(_LENGTH_BYTES))
        hashed.update(part)
    return hashed.hexdigest()
