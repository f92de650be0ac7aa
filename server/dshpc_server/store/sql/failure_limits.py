"""Batches that want the rest no more once too many of their jobs have failed."""

from collections.abc import Collection, Mapping

import sqlalchemy

from dshpc_server.store.sql import bulk, joins, tables

_batches = tables.batches.c
_rows = tables.batch_rows.c
# Written out: only so is the index on it used.
_LIMITED = sqlalchemy.text(tables.LIMITED)
# What is not shown yet cannot be withdrawn; it is counted once it is shown.
_LIMITS = sqlalchemy.select(_batches.batch_id, _batches.max_failures).where(joins.IS_SHOWN)
_ALL = _LIMITS.where(_LIMITED)
_THESE = _LIMITS.where(_batches.batch_id.in_(joins.KEYS), _LIMITED)
_WAITING = (
    sqlalchemy.select(_rows.batch_id).where(_rows.job_id.in_(joins.KEYS), joins.WAITS).distinct()
)


def find(
    connection: sqlalchemy.Connection,
    job_ids: Collection[str] | None,
    batch_ids: Collection[str],
) -> Mapping[str, int]:
    """Return the limits that may be reached. See `store.port.Reader`."""
    if job_ids is None:
        return {row.batch_id: row.max_failures for row in connection.execute(_ALL)}
    waiting = {
        batch_id
        for keys in bulk.key_lists(job_ids)
        for (batch_id,) in connection.execute(_WAITING, {"keys": keys})
    }
    return {
        row.batch_id: row.max_failures
        for keys in bulk.key_lists(waiting.union(batch_ids))
        for row in connection.execute(_THESE, {"keys": keys})
    }
