"""Which errors of a database mean what: that it cannot now, has no room, or wants it done again.

Promise: what is wrong in a statement or in a value is none of these; it stays the bug that it is.
"""

import enum
from typing import Any

import sqlalchemy


class Trouble(enum.Enum):
    """What the database's machinery can be in. Each ends the transaction for everybody in it."""

    UNAVAILABLE = enum.auto()
    """It cannot answer just now: gone, shutting down, locked, cut off, read-only."""
    NO_ROOM = enum.auto()
    """Its disk is full, or fails."""
    CONFLICT = enum.auto()
    """What others do at the same time stood in the way; the same may be done again at once."""


# PostgreSQL's words, by their code. Disk full, and an error of a device.
_NO_ROOM = {"53100", "58030"}
# A serialisation that failed, and a deadlock.
_CONFLICTS = {"40001", "40P01"}
# A read-only transaction, as on a stand-by; a transaction that did nothing for long, or took long.
_STATES = {"25006", "25P03", "25P04"}
# Connection, resources, objects in use, the operator, the system, and what it calls internal.
_CLASSES = {"08", "53", "55", "57", "58", "XX"}


def of(error: BaseException) -> Trouble | None:
    """Return what the error says of the database; None when it is about what was asked of it."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):  # for a connection
        return Trouble.UNAVAILABLE
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return None
    cause: Any = error.orig
    if hasattr(cause, "sqlite_errorname"):
        return _of_sqlite(cause.sqlite_errorname) if _is_operational(error) else None
    if code := getattr(cause, "sqlstate", None):
        return _of_postgres(code)
    # The driver's own: the connection is lost, or there is none to be had.
    return Trouble.UNAVAILABLE if error.connection_invalidated or _is_operational(error) else None


def _is_operational(error: sqlalchemy.exc.DBAPIError) -> bool:
    return isinstance(error, sqlalchemy.exc.OperationalError)


def _of_sqlite(name: str) -> Trouble | None:
    if name == "SQLITE_ERROR":  # a wrong statement
        return None
    if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR"):
        return Trouble.NO_ROOM
    return Trouble.UNAVAILABLE


def _of_postgres(code: str) -> Trouble | None:
    if code in _CONFLICTS:
        return Trouble.CONFLICT
    if code in _NO_ROOM:
        return Trouble.NO_ROOM
    return Trouble.UNAVAILABLE if code in _STATES or code[:2] in _CLASSES else None
