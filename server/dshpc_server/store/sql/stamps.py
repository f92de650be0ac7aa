"""Stamps: when a transaction changed what it changes, as readers of changes count it.

Promise: everything that one transaction changes has one stamp, and each transaction of this server
that changes anything has a later one than those before it, whatever the clock does. Between servers
only the database's clock orders them: who commits later may have the earlier stamp.
"""

import sqlalchemy

from dshpc_server import clock
from dshpc_server.store.sql import database_clock


class Stamps:
    """Gives the stamps of one server, to its one writer."""

    def __init__(self, clock: clock.Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self, connection: sqlalchemy.Connection) -> int:
        """Return the present as it is stored, or what comes after the last stamp."""
        self._last = max(database_clock.now(connection, self._clock), self._last + 1)
        return self._last


class Stamp:
    """The stamp of one transaction, given when it is first asked for."""

    def __init__(self, connection: sqlalchemy.Connection, stamps: Stamps) -> None:
        self._connection = connection
        self._stamps = stamps
        self._given: int | None = None

    def __call__(self) -> int:
        """Return it."""
        if self._given is None:
            self._given = self._stamps.next(self._connection)
        return self._given
