"""Several servers on one SQL database within one process, and what befalls their leases.

What a shared database offers by itself, an SQLite file offers here too: servers with leases, by the
one clock that the store was opened with.
"""

import contextlib

import sqlalchemy

from dshpc_server import clock
from dshpc_server.store.sql import tables
from dshpc_server.store.sql.store import SqlStore

_servers = tables.servers.c
_attempts = tables.attempts.c


class ServerBeside(SqlStore):
    """Another server on the database of one that is open; it ends with that."""

    @property
    def is_shared(self) -> bool:
        return True


def beside(
    store: SqlStore,
    *,
    scope: str = "here",
    lease_seconds: float = 3600.0,
    clock: clock.Clock | None = None,
) -> SqlStore:
    """Open another server on the same database."""
    other = ServerBeside(
        store._database,
        clock or store._clock,
        contextlib.ExitStack(),
        scope=scope,
        lease_seconds=lease_seconds,
    )
    other.rejoin()
    return other


def again(store: SqlStore) -> SqlStore:
    """Start the server anew on the connections it has; it ends with the first one."""
    next_one = SqlStore(store._database, store._clock, contextlib.ExitStack())
    next_one.rejoin()
    return next_one


def empty(store: SqlStore) -> None:
    """Take out everything but the record of this server."""
    with store._writers.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            if table is not tables.servers:
                connection.execute(sqlalchemy.delete(table))
        others = _servers.server_id != store.server_id
        connection.execute(sqlalchemy.delete(tables.servers).where(others))


def expire(store: SqlStore, *server_ids: str) -> None:
    """Let the leases of these servers have ended a while ago."""
    ended = sqlalchemy.update(tables.servers).values(lease_expires_at=1)
    with store._writers.begin() as connection:
        connection.execute(ended.where(_servers.server_id.in_(server_ids)))


def forget(store: SqlStore, server_id: str) -> None:
    """Lose the record of a server, not its attempts."""
    with store._writers.begin() as connection:
        connection.execute(sqlalchemy.delete(tables.servers).where(_servers.server_id == server_id))


def pass_time(store: SqlStore, seconds: float) -> None:
    """Have the store's clock moved, back as well: what it has told lies so much earlier now."""
    moved = round(seconds * 1_000_000)
    attempts = sqlalchemy.update(tables.attempts).values(
        due_at=_attempts.due_at - moved, created_at=_attempts.created_at - moved
    )
    leases = sqlalchemy.update(tables.servers).values(
        lease_expires_at=_servers.lease_expires_at - moved
    )
    with store._writers.begin() as connection:
        connection.execute(attempts.where(_attempts.due_at > 0))
        connection.execute(leases)
