"""Which errors of a database mean what: that it cannot now, has no room, or wants it done again.

Promise: what is wrong in a statement or in a value is none of these; it stays the bug that it is.
"""

import enum
from typing import Any

import sqlalchemy


class Trouble(enum.Enum):
    """What the database's machinery can be in. Each ends the transaction for everybody in it."""

    UNAVAILABLE = enum.auto()
    """It cannot answer just now: gone, shutting down, locked, cut off, read-only, damaged."""
    NO_ROOM = enum.auto()
    """Its disk is full, or fails."""
    CONFLICT = enum.auto()
    """What others do at the same time stood in the way; the same may be done again at once."""


# PostgreSQL's words, by their code. Disk full, and an error of a device.
_NO_ROOM = {"53100", "58030"}
# A transaction that was rolled back: for no told reason, by serialisation, by a deadlock.
_CONFLICTS = {"40000", "40001", "40P01"}
_STATES = {
    "25006",  # a transaction that may only read, as on a stand-by that is to take over
    "25P03",  # one that did nothing for long
    "25P04",  # one that took long
    "40003",  # one of which nobody knows whether it was committed
    "72000",  # one whose picture of the data is too old
}
_CLASSES = {
    "08",  # the connection
    "28",  # who may connect: a password that is being changed, a role that comes with a restore
    "3D",  # the database is not there: it is being restored
    "53",  # resources
    "55",  # objects that are in use, or not ready
    "57",  # the operator: it starts, stops, or cancels
    "58",  # the system it runs on
    "XX",  # what it calls internal, damaged data among that
}
# Of what is too much for it (54) most is about what was asked, and would be the next time. But one
# that was not vacuumed for long gives out no more numbers for transactions, and calls it the same.
_TOO_MUCH = "54000"
_GIVES_NUMBERS = {"GetNewTransactionId", "GetNewMultiXactId"}

# SQLite's words: the file is damaged. What lies on other pages of it is still answered.
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def of(error: BaseException) -> Trouble | None:
    """Return what the error says of the database; None when it is about what was asked of it."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):  # for a connection
        return Trouble.UNAVAILABLE
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return None
    cause: Any = error.orig
    if hasattr(cause, "sqlite_errorname"):
        name = cause.sqlite_errorname
        if name.startswith(_DAMAGE):
            return Trouble.UNAVAILABLE
        return _of_sqlite(name) if _is_operational(error) else None
    code = getattr(cause, "sqlstate", None)
    found = _of_postgres(code, cause) if code else None
    if found is not None:
        return found
    # The connection is lost, whatever is said of it; or, by the driver's own word, there is none.
    is_away = error.connection_invalidated or (not code and _is_operational(error))
    return Trouble.UNAVAILABLE if is_away else None


def _is_operational(error: sqlalchemy.exc.DBAPIError) -> bool:
    return isinstance(error, sqlalchemy.exc.OperationalError)


def _of_sqlite(name: str) -> Trouble | None:
    if name == "SQLITE_ERROR":  # a wrong statement
        return None
    if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR"):
        return Trouble.NO_ROOM
    return Trouble.UNAVAILABLE


def _of_postgres(code: str, cause: Any) -> Trouble | None:  # noqa: ANN401 - the driver's error
    if code == _TOO_MUCH and cause.diag.source_function in _GIVES_NUMBERS:
        return Trouble.UNAVAILABLE
    if code in _CONFLICTS:
        return Trouble.CONFLICT
    if code in _NO_ROOM:
        return Trouble.NO_ROOM
    return Trouble.UNAVAILABLE if code in _STATES or code[:2] in _CLASSES else None
