"""Pieces of large batches: kept until their batch is sealed and each of them is accepted.

Promise: a piece is accepted once, whoever is at it, for whoever does so takes it out of the table
in the same transaction. The number of rows that a batch has left falls with it, so that the batch
is shown from the moment when none is left.
"""

import json
from collections.abc import Mapping, Sequence

import sqlalchemy

from dshpc_server.store.port import FencedError
from dshpc_server.store.records import (
    NewBatch,
    NextPiece,
    RequestName,
    StagedPiece,
    StrandedBatch,
)
from dshpc_server.store.sql import bulk, columns, tables

_batches = tables.batches.c
_pieces = tables.staged_pieces.c
_NEW_PIECE = ("batch_id", "piece_number", "row_count", "owner", "rows")
_batch_id: sqlalchemy.BindParameter[str] = sqlalchemy.bindparam("batch")
_LEFT = sqlalchemy.select(_batches.staged_rows).where(_batches.batch_id == _batch_id)
_STAGED = sqlalchemy.select(
    sqlalchemy.func.coalesce(sqlalchemy.func.sum(_pieces.row_count), 0)
).where(_pieces.batch_id == _batch_id, _pieces.owner == sqlalchemy.bindparam("server"))
_NEXT = (
    sqlalchemy.select(
        _batches.display_name,
        _batches.created_at,
        _batches.priority,
        _batches.max_failures,
        _batches.request_id,
        _batches.request_hash,
        _batches.staged_rows,
        _pieces.piece_number,
        _pieces.row_count,
        _pieces.rows,
    )
    .select_from(tables.staged_pieces.join(tables.batches, _batches.batch_id == _pieces.batch_id))
    .where(_pieces.batch_id == _batch_id, _pieces.piece_number > sqlalchemy.bindparam("after"))
    .order_by(_pieces.piece_number)
    .limit(1)
)
_OF_BATCH = sqlalchemy.delete(tables.staged_pieces).where(_pieces.batch_id == _batch_id)
_TAKE = _OF_BATCH.where(_pieces.piece_number == sqlalchemy.bindparam("taken"))
_COUNT_DOWN = (
    sqlalchemy.update(tables.batches)
    .where(_batches.batch_id == _batch_id)
    .values(staged_rows=_batches.staged_rows - sqlalchemy.bindparam("rows"))
)
_FIRST_TURNS = sqlalchemy.select(_batches.first_turns).where(_batches.batch_id == _batch_id)
_KEEP_FIRST_TURNS = (
    sqlalchemy.update(tables.batches)
    .where(_batches.batch_id == _batch_id)
    .values(first_turns=sqlalchemy.bindparam("turns"))
)
# Few pieces at any time, so all are looked at.
_STRANDED = (
    sqlalchemy.select(_pieces.batch_id, sqlalchemy.func.count(_batches.batch_id))
    .select_from(
        tables.staged_pieces.outerjoin(
            tables.batches, _batches.batch_id == _pieces.batch_id
        ).outerjoin(tables.servers, tables.servers.c.server_id == _pieces.owner)
    )
    .where(tables.servers.c.server_id.is_(None))
    .group_by(_pieces.batch_id)
    .order_by(_pieces.batch_id)
)


def stage(connection: sqlalchemy.Connection, pieces: Sequence[StagedPiece], server_id: str) -> None:
    """Keep pieces. See `store.port.Writer`."""
    values = [(each.batch_id, each.number, each.row_count, server_id, each.rows) for each in pieces]
    bulk.insert(connection, tables.staged_pieces, _NEW_PIECE, values)


def check_staged(connection: sqlalchemy.Connection, batch: NewBatch, server_id: str) -> None:
    """Raise FencedError when rows of a batch that is to be sealed are not there any more."""
    if batch.staged_rows:
        asked = {"batch": batch.batch_id, "server": server_id}
        if connection.execute(_STAGED, asked).scalar_one() != batch.staged_rows:
            raise FencedError(server_id)


def take(connection: sqlalchemy.Connection, batch: NewBatch, number: int) -> bool:
    """Take a piece out, to be accepted; whether it was there."""
    taken = connection.execute(_TAKE, {"batch": batch.batch_id, "taken": number}).rowcount
    if taken:
        counted = {"batch": batch.batch_id, "rows": len(batch.rows)}
        connection.execute(_COUNT_DOWN, counted)
    return taken > 0


def find_first_turns(connection: sqlalchemy.Connection, batch_id: str) -> Mapping[int, int]:
    """Return with which turn the batch began in each class that pieces of it have come to."""
    kept = connection.execute(_FIRST_TURNS, {"batch": batch_id}).scalar_one()
    return {} if kept is None else {int(each): turn for each, turn in json.loads(kept).items()}


def keep_first_turns(
    connection: sqlalchemy.Connection, batch_id: str, turns: Mapping[int, int]
) -> None:
    """Remember those for the next pieces."""
    connection.execute(_KEEP_FIRST_TURNS, {"batch": batch_id, "turns": json.dumps(turns)})


def unstage(connection: sqlalchemy.Connection, batch_id: str) -> bool:
    """Forget the pieces of a batch unless it is sealed; whether it is."""
    if connection.execute(_LEFT, {"batch": batch_id}).one_or_none() is not None:
        return True
    connection.execute(_OF_BATCH, {"batch": batch_id})
    return False


def has_rows(connection: sqlalchemy.Connection, batch_id: str) -> bool:
    """Return whether rows of a sealed batch are left."""
    return bool(connection.execute(_LEFT, {"batch": batch_id}).scalar_one_or_none())


def find_next(connection: sqlalchemy.Connection, batch_id: str, after: int) -> NextPiece | None:
    """Return the first piece left of a sealed batch of a higher number."""
    row = connection.execute(_NEXT, {"batch": batch_id, "after": after}).one_or_none()
    if row is None:
        return None
    display_name, created_at, priority, max_failures, *name, staged_rows, number, count, rows = row
    request_id, request_hash = name
    return NextPiece(
        batch=NewBatch(
            batch_id=batch_id,
            display_name=display_name,
            created_at=columns.at(created_at),
            rows=(),
            file_hashes=(),
            staged_rows=staged_rows,
            priority=priority,
            max_failures=max_failures,
            request=None
            if request_id is None
            else RequestName(request_id=request_id, request_hash=request_hash),
        ),
        piece=StagedPiece(batch_id=batch_id, number=number, row_count=count, rows=rows),
    )


def find_stranded(connection: sqlalchemy.Connection) -> Sequence[StrandedBatch]:
    """Return what servers that are gone have left."""
    return [
        StrandedBatch(batch_id=batch_id, is_sealed=sealed > 0)
        for batch_id, sealed in connection.execute(_STRANDED).all()
    ]
