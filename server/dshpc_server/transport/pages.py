"""Page tokens: opaque to clients, and only good for the request they came from.

A token holds a position and a checksum of what was asked; it grants no rights.
"""

import base64
import binascii
import contextlib
import hashlib
import json
from collections.abc import Sequence

from dshpc_server import errors
from dshpc_server.domain import identity
from dshpc_server.domain.rejection import Violation
from dshpc_server.store import records
from dshpc_server.transport import moments

_CHECKSUM_LENGTH = 16
_MAX_INDEX = 2**31 - 1
"""The contract's type of a row's index."""


def token(position: int | str | records.ListPosition, *asked: object) -> str:
    """Return the token for going on at (or after) `position` of what was `asked`."""
    told: object = position
    if isinstance(position, records.ListPosition):
        told = [moments.microseconds(position.at), position.name]
    text = json.dumps([told, _checksum(asked)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def index(token: str, *asked: object) -> int:
    """Return the number a token goes on at; 0 without a token."""
    if not token:
        return 0
    found = _position(token, asked)
    # A bool is an int to Python, not to whoever made this token.
    if type(found) is not int or not 0 <= found <= _MAX_INDEX:
        raise _foreign()
    return found


def name(token: str, *asked: object) -> str:
    """Return the name a token goes on after; empty without a token."""
    if not token:
        return ""
    found = _position(token, asked)
    if not isinstance(found, str):
        raise _foreign()
    return found


def place(token: str, *asked: object) -> records.ListPosition | None:
    """Return the place in a listing that a token goes on after; None without a token."""
    if not token:
        return None
    match _position(token, asked):
        case [int(at), str(name)] if identity.is_hash(name):
            with contextlib.suppress(OverflowError):
                return records.ListPosition(at=moments.moment(at), name=name)
    raise _foreign()


def batch_place(token: str, *asked: object) -> records.ListPosition | None:
    """Return the place in a listing of batches that a token goes on after; None without one."""
    if not token:
        return None
    match _position(token, asked):
        case [int(at), str(name)]:
            with contextlib.suppress(OverflowError):
                return records.ListPosition(at=moments.moment(at), name=name)
    raise _foreign()


def batch_rows(
    batch_id: str, statuses: Sequence[int] = (), outcomes: Sequence[int] = ()
) -> tuple[object, ...]:
    """Name what a page of a batch's rows was asked of."""
    return ("batch_rows", batch_id, sorted(set(statuses)), sorted(set(outcomes)))


def _position(token: str, asked: tuple[object, ...]) -> object:
    try:
        padded = token + "=" * (-len(token) % 4)
        found, checksum = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise _foreign() from None
    if checksum != _checksum(asked):
        raise _foreign()
    return found


def _checksum(asked: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:_CHECKSUM_LENGTH]


def _foreign() -> errors.InvalidRequestError:
    return errors.InvalidRequestError(
        Violation(field="page_token", description="is not a token of this request")
    )
