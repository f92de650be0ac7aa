"""Servers: who uses the store, for how long without a word, and who takes over from whom.

A server's record is its right to claim and to record. Claiming holds the record (FOR KEY SHARE),
taking over removes it (DELETE, which waits for that): so what a server claims it has claimed before
its attempts are taken over, and then they all are, or it does not claim at all.
"""

import datetime
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain.job import AttemptKey
from dshpc_server.store.port import FencedError
from dshpc_server.store.records import ServerRecord
from dshpc_server.store.sql import columns, joins, tables

_servers = tables.servers.c
_attempts = tables.attempts.c
# Who ends his lease himself ends it at no moment that a clock has told.
_LEFT = 0


def join(
    connection: sqlalchemy.Connection, server_id: str, scope: str, now: int, lease: int | None
) -> None:
    """Begin a server's record; `lease` is in microseconds, None for one without end."""
    connection.execute(
        sqlalchemy.insert(tables.servers).values(
            server_id=server_id,
            scope=scope,
            joined_at=now,
            lease_expires_at=None if lease is None else now + lease,
        )
    )


def renew(connection: sqlalchemy.Connection, server_id: str, until: int) -> None:
    """Move the end of the lease. Raises FencedError."""
    changed = connection.execute(
        sqlalchemy.update(tables.servers)
        .where(_servers.server_id == server_id)
        .values(lease_expires_at=until)
    )
    if not changed.rowcount:
        raise FencedError(server_id)


def held(*columns: sqlalchemy.ColumnElement[Any]) -> sqlalchemy.Select[Any]:
    """Return a question for these of the record of one server, to be asked by `hold`."""
    return (
        sqlalchemy.select(*columns)
        .where(_servers.server_id == sqlalchemy.bindparam("server"))
        .with_for_update(of=tables.servers, read=True, key_share=True)
    )


_SCOPE = held(_servers.scope)


def hold(
    connection: sqlalchemy.Connection,
    server_id: str,
    question: sqlalchemy.Select[Any] = _SCOPE,
    **values: object,
) -> Sequence[Any]:
    """Return the answer, and let nobody take over from this server in this transaction.

    Raises FencedError.
    """
    found = connection.execute(question, {"server": server_id, **values}).one_or_none()
    if found is None:
        raise FencedError(server_id)
    return tuple(found)


def found(connection: sqlalchemy.Connection, now: int) -> Sequence[ServerRecord]:
    """Return every server there is a record of."""
    rows = connection.execute(sqlalchemy.select(tables.servers).order_by(_servers.joined_at)).all()
    return [
        ServerRecord(
            server_id=server_id,
            scope=scope,
            joined_at=columns.at(joined_at),
            is_expired=expires_at is not None and expires_at <= now,
            has_left=expires_at == _LEFT,
        )
        for server_id, scope, joined_at, expires_at in rows
    ]


def owners(connection: sqlalchemy.Connection) -> dict[AttemptKey, str]:
    """Return whose each attempt is that was claimed and has not ended."""
    claimed = sqlalchemy.select(_attempts.job_id, _attempts.number, _attempts.owner).where(
        joins.NOT_ENDED, _attempts.owner.is_not(None)
    )
    rows = connection.execute(claimed).all()
    return {AttemptKey(job_id=job_id, number=number): owner for job_id, number, owner in rows}


def take_over(
    connection: sqlalchemy.Connection,
    server_id: str,
    dead: Collection[str],
    expired_at: int | None,
) -> None:
    """Make the attempts of dead servers this server's own, and end those servers' records.

    A lease that ended by `expired_at` is proof enough; None: none is.
    """
    (scope,) = hold(connection, server_id)
    is_dead = _servers.server_id.in_(sorted(dead)) | (_servers.lease_expires_at == _LEFT)
    if expired_at is not None:
        is_dead = is_dead | (_servers.lease_expires_at <= expired_at)
    gone = sqlalchemy.delete(tables.servers).where(
        _servers.scope == scope, _servers.server_id != server_id, is_dead
    )
    connection.execute(gone)
    # Those of whom there is a record have their attempts still, whatever their scope.
    living = sqlalchemy.select(_servers.server_id)
    connection.execute(
        sqlalchemy.update(tables.attempts)
        .where(joins.NOT_ENDED, _attempts.owner.is_not(None), _attempts.owner.not_in(living))
        .values(owner=server_id)
    )


def clear(connection: sqlalchemy.Connection) -> None:
    """End every record: in a store for one server, whoever opens it is alone."""
    connection.execute(sqlalchemy.delete(tables.servers))


def leave(connection: sqlalchemy.Connection, server_id: str) -> None:
    """Let others take over at once. Who leaves nothing behind needs no record any more."""
    mine = _servers.server_id == server_id
    owned = sqlalchemy.select(_attempts.job_id).where(joins.NOT_ENDED, _attempts.owner == server_id)
    # Waits for a claim that is under way, as the update would not: what it takes is seen then.
    connection.execute(sqlalchemy.select(_servers.server_id).where(mine).with_for_update())
    connection.execute(sqlalchemy.update(tables.servers).where(mine).values(lease_expires_at=_LEFT))
    connection.execute(sqlalchemy.delete(tables.servers).where(mine, ~owned.exists()))


def microseconds(seconds: float) -> int:
    """Return a length of time as moments are counted."""
    return datetime.timedelta(seconds=seconds) // datetime.timedelta(microseconds=1)
