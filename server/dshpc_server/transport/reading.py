"""Reading back what the encoder made: what a stored result tells, for whoever checks it."""

import dataclasses

from google.protobuf import message

from dshpc.v1 import types_pb2
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.transport import words


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a result says of its attempt."""

    key: AttemptKey
    status: JobStatus | None
    """None: a status that there is none of."""
    output_hash: str
    output_size_bytes: int
    output: bytes | None
    """The whole output; None when it is not in there."""


def told(result: bytes) -> Told:
    """Return what the result of an attempt that has ended says. ValueError: it is none."""
    try:
        decoded = types_pb2.MultiJobResult.FromString(result)
    except message.DecodeError as error:
        raise ValueError("it is no result") from error
    return Told(
        key=AttemptKey(job_id=decoded.job_id, number=decoded.attempt),
        status=words.STATUS_OF.get(decoded.new_status),
        output_hash=decoded.output_hash,
        output_size_bytes=decoded.output_size_bytes,
        output=decoded.output.encode() if decoded.HasField("output") else None,
    )
