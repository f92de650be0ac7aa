"""The time by which several servers agree: the database's own.

Promise: where servers share a database, no server's clock decides about leases and delays. SQLite
has no other clock than that of its one server, which is handed in.
"""

import sqlalchemy

from dshpc_server import clock
from dshpc_server.store.sql import columns

MICROSECONDS = 1_000_000
# Of the statement, not of the transaction's begin: that may be long ago.
_NOW = sqlalchemy.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def now(connection: sqlalchemy.Connection, clock: clock.Clock) -> int:
    """Return the present moment as it is stored."""
    if connection.dialect.name == "sqlite":
        return columns.moment(clock.now())
    return int(connection.execute(_NOW).scalar_one())
