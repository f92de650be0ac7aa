"""Words of the command line that stand for something of the contract, checked before they are sent.

A part of a hash is refused here, with a sentence that says what is wanted: the server has no notion
of it.
"""

import difflib
import re
import uuid
from collections.abc import Sequence

from dshpc.cli import words
from dshpc.client import statuses as groups
from dshpc.v1 import types_pb2

HASH_DIGITS = 64

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s/:\[\]]+):([0-9]{1,5})")
_OTHER_ADDRESSES = ("unix:", "dns:", "ipv4:", "ipv6:")
_MOST_PORT = 65_535
_HEX = re.compile(r"[0-9a-f]+")
_BATCH_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATUSES = {words.status(status): status for status in types_pb2.JobStatus.values() if status}
_OUTCOMES = {words.outcome(outcome): outcome for outcome in types_pb2.Outcome.values() if outcome}
_IN_PROGRESS = "IN_PROGRESS"


class ArgumentError(Exception):
    """A word of the command line cannot be used; nothing was asked."""


def server(text: str) -> str:
    """Return the address of a server. gRPC would take a missing port for that of HTTPS."""
    found = _ADDRESS.fullmatch(text)
    if text.startswith(_OTHER_ADDRESSES) or (found and 0 < int(found[2]) <= _MOST_PORT):
        return text
    raise ArgumentError(f"server {text!r} must be HOST:PORT, as in 127.0.0.1:50051 or [::1]:50051")


def job_id(text: str) -> str:
    """Return a job_id."""
    return _hash(text, "job_id", found_by="dshpc job list")


def file_hash(text: str) -> str:
    """Return the hash of a file."""
    return _hash(text, "file hash", found_by="dshpc files list")


def function_hash(text: str) -> str:
    """Return the hash of a method's version."""
    return _hash(text, "function_hash", found_by="dshpc methods show NAME")


def batch_id(text: str) -> str:
    """Return the name of a batch."""
    found = text.strip().lower()
    if not _BATCH_ID.fullmatch(found):
        raise ArgumentError(f"{text!r} is not a batch_id: 'dshpc batch list' shows them")
    return found


def request_id(text: str) -> str:
    """Return the name of a request, in the form that the server takes."""
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        raise ArgumentError(f"{text!r} is not a UUID, as 'uuidgen' makes them") from None


def statuses(texts: Sequence[str]) -> list[types_pb2.JobStatus.ValueType]:
    """Return the statuses that are named, in either case; IN_PROGRESS stands for all of those."""
    found: dict[types_pb2.JobStatus.ValueType, None] = {}
    known = [*_STATUSES, _IN_PROGRESS]
    for text in (word for given in texts for word in given.split(",")):
        name = text.strip().upper().replace("-", "_").removeprefix("JOB_STATUS_")
        if name == _IN_PROGRESS:
            found |= dict.fromkeys(sorted(groups.IN_PROGRESS))
        elif name in _STATUSES:
            found[_STATUSES[name]] = None
        else:
            raise ArgumentError(f"{text!r} is not a status{_suggestion(name, known)}")
    return list(found)


def outcomes(texts: Sequence[str]) -> list[types_pb2.Outcome.ValueType]:
    """Return the outcomes that are named, in either case."""
    found: dict[types_pb2.Outcome.ValueType, None] = {}
    for text in (word for given in texts for word in given.split(",")):
        name = text.strip().upper().replace("-", "_").removeprefix("OUTCOME_")
        if name not in _OUTCOMES:
            raise ArgumentError(f"{text!r} is not an outcome{_suggestion(name, [*_OUTCOMES])}")
        found[_OUTCOMES[name]] = None
    return list(found)


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"


def _hash(text: str, noun: str, *, found_by: str) -> str:
    found = text.strip().lower()
    if _HEX.fullmatch(found) and len(found) == HASH_DIGITS:
        return found
    if _HEX.fullmatch(found) and len(found) < HASH_DIGITS:
        problem = f"is a part of a {noun}, and all {HASH_DIGITS} digits are needed"
    elif _BATCH_ID.fullmatch(found):
        problem = f"is a batch_id, not a {noun}"
    else:
        problem = f"is not a {noun}, which has {HASH_DIGITS} hexadecimal digits"
    raise ArgumentError(f"{text!r} {problem}: '{found_by}' shows them")
