"""Releasing: rows that waited are looked up and decided, as at an acceptance."""

import dataclasses
from collections.abc import Collection, Sequence

import sqlalchemy

from dshpc_server.domain.job import Outcome
from dshpc_server.store.records import Attempt, NewBatch, Row
from dshpc_server.store.sql import (
    accepting,
    bulk,
    columns,
    exclusion,
    files,
    joins,
    queueing,
    stamps,
    tables,
    undecided,
)

_rows = tables.batch_rows.c
_batches = tables.batches.c
_undecided = tables.undecided_rows.c
_STILL_READY = (
    sqlalchemy.select(_rows.row_index)
    .select_from(
        tables.undecided_rows.join(
            tables.batch_rows,
            (_rows.batch_id == _undecided.batch_id) & (_rows.row_index == _undecided.row_index),
        )
    )
    .where(_undecided.batch_id == sqlalchemy.bindparam("batch"))
    .where(_undecided.row_index.in_(joins.KEYS))
    .where(undecided.IS_READY, _rows.outcome == Outcome.PENDING.value)
    .order_by(_rows.row_index)
    .with_for_update(of=tables.batch_rows)
)
_PRIORITY = sqlalchemy.select(_batches.priority).where(
    _batches.batch_id == sqlalchemy.bindparam("batch")
)


def release(
    connection: sqlalchemy.Connection, batch: NewBatch, stamp: stamps.Stamp
) -> tuple[Sequence[Row], Sequence[Attempt], Collection[str]]:
    """Decide rows; return those that were, and the attempts that are new. See the port.

    And the jobs whose attempt got another place in the queue.
    """
    # In the order in which a piece of the batch is accepted, which another server may be at.
    exclusion.hold_batches(connection, [batch.batch_id])
    files.use(connection, batch.file_hashes, batch.created_at)
    still = _still_ready(connection, batch)
    if not still:
        return (), (), ()
    priority = connection.execute(_PRIORITY, {"batch": batch.batch_id}).scalar_one()
    ready = dataclasses.replace(
        batch, rows=[row for row in batch.rows if row.index in still], priority=priority
    )
    turns = queueing.turns(connection, columns.moment(batch.created_at))
    decided, moved_jobs = accepting.decide(connection, ready, stamp(), turns, {})
    _update(connection, batch.batch_id, decided.rows)
    undecided.drop(connection, batch.batch_id, still)
    return decided.rows, [each.attempt for each in decided.new], moved_jobs


def _update(connection: sqlalchemy.Connection, batch_id: str, decided: Sequence[Row]) -> None:
    """Store decisions; what was kept of a row as it named no job goes when it names one."""
    without = [
        (*accepting.decision_values(row), batch_id, row.index)
        for row in decided
        if row.attempt is None
    ]
    bulk.update(connection, tables.batch_rows, accepting.DECISION, without)
    nothing = (None,) * len(accepting.KEPT)
    named = [
        (*accepting.decision_values(row), *nothing, batch_id, row.index)
        for row in decided
        if row.attempt is not None
    ]
    changes = (*accepting.DECISION, *accepting.KEPT)
    bulk.update(connection, tables.batch_rows, changes, named)


def _still_ready(connection: sqlalchemy.Connection, batch: NewBatch) -> set[int]:
    """Return which of these rows nobody has decided meanwhile."""
    return {
        index
        for keys in bulk.index_lists([row.index for row in batch.rows])
        for index in connection.execute(
            _STILL_READY, {"batch": batch.batch_id, "keys": keys}
        ).scalars()
    }
