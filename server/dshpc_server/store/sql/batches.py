"""Batches without their rows: what was asked for, and how many rows are what."""

import collections
import datetime
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.records import BatchRecord, BatchTally, ListPosition
from dshpc_server.store.sql import bulk, columns, joins, rows, tables

_batches = tables.batches.c
_rows = tables.batch_rows.c
_RECORD = sqlalchemy.select(
    _batches.batch_id,
    _batches.display_name,
    _batches.created_at,
    _batches.row_count,
    _batches.priority,
    _batches.cancel_reason,
    _batches.ended_at,
    _batches.tally,
).where(joins.IS_SHOWN)
_NEWEST_FIRST = (_batches.created_at, _batches.batch_id)
_CREATED = sqlalchemy.select(_batches.batch_id, _batches.created_at).where(
    _batches.batch_id.in_(joins.KEYS), joins.IS_SHOWN
)
_ALIKE = (
    sqlalchemy.select(
        _rows.batch_id,
        _rows.outcome,
        rows.STATUS,
        sqlalchemy.func.count(),
        sqlalchemy.func.max(rows.CHANGED_AT),
        sqlalchemy.func.max(rows.ENDED_AT),
    )
    .select_from(joins.ROW_WITH_ATTEMPT)
    .where(_rows.batch_id.in_(joins.KEYS))
    .group_by(_rows.batch_id, _rows.outcome, rows.STATUS)
)
_KEEP = (
    sqlalchemy.update(tables.batches)
    .where(_batches.batch_id == sqlalchemy.bindparam("batch"), _batches.tally.is_(None))
    .values(
        ended_at=sqlalchemy.bindparam("ended", type_=sqlalchemy.BigInteger),
        tally=sqlalchemy.bindparam("counts"),
    )
)


def find(connection: sqlalchemy.Connection, batch_id: str) -> BatchRecord | None:
    """Return a batch."""
    row = connection.execute(_RECORD.where(_batches.batch_id == batch_id)).one_or_none()
    return None if row is None else _record(row)


def listed(
    connection: sqlalchemy.Connection, after: ListPosition | None, limit: int
) -> Sequence[BatchRecord]:
    """Return the next batches, the newest first."""
    statement = _RECORD.order_by(*(each.desc() for each in _NEWEST_FIRST)).limit(limit)
    if after is not None:
        position = (columns.moment(after.at), after.name)
        statement = statement.where(sqlalchemy.tuple_(*_NEWEST_FIRST) < position)
    return [_record(row) for row in connection.execute(statement).all()]


def tallies(
    connection: sqlalchemy.Connection, batch_ids: Collection[str]
) -> Mapping[str, BatchTally]:
    """Return how many rows of these batches are what, now."""
    alike: dict[str, list[Sequence[Any]]] = collections.defaultdict(list)
    found = {}
    for keys in bulk.key_lists(batch_ids):
        for batch_id, *group in connection.execute(_ALIKE, {"keys": keys}):
            alike[batch_id].append(group)
        for batch_id, created_at in connection.execute(_CREATED, {"keys": keys}):
            found[batch_id] = _tally(alike[batch_id], created_at)
    return found


def keep_tally(connection: sqlalchemy.Connection, batch_id: str, tally: BatchTally) -> None:
    """Keep how a batch ended, unless that was kept before."""
    if not tally.is_final:
        raise ValueError(f"batch '{batch_id}' has not ended")
    alike = [[outcome, status, count] for (outcome, status), count in tally.rows.items()]
    counts = json.dumps({"changed_at": tally.changed_at, "rows": alike}, separators=(",", ":"))
    ended = columns.moment(tally.ended_at)
    connection.execute(_KEEP, {"batch": batch_id, "ended": ended, "counts": counts})


def kept_rows(tally: str) -> list[tuple[str, str | None, int]]:
    """Return how many rows were what by what is kept, as it is there; none for what is no tally."""
    try:
        return [(outcome, status, count) for outcome, status, count in json.loads(tally)["rows"]]
    except (ValueError, TypeError, KeyError):
        return []


def _tally(alike: Sequence[Sequence[Any]], created_at: int) -> BatchTally:
    counted: dict[tuple[Outcome, JobStatus | None], int] = {}
    changed_at, ended_at = 0, created_at
    for outcome, status, count, changed, ended in alike:
        key = columns.OUTCOMES[outcome], columns.STATUSES_OR_NONE[status]
        counted[key] = count
        changed_at = max(changed_at, changed)
        # What was found may have ended long before.
        ended_at = max(ended_at, ended or 0)
    return BatchTally(
        rows=counted,
        ended_rows=sum(count for (_, status), count in counted.items() if _has_ended(status)),
        changed_at=changed_at,
        ended_at=columns.at(ended_at),
    )


def _has_ended(status: JobStatus | None) -> bool:
    return status is None or status in job.TERMINAL


def _record(row: Sequence[Any]) -> BatchRecord:
    batch_id, display_name, created_at, row_count, priority, cancel_reason, ended_at, tally = row
    return BatchRecord(
        batch_id=batch_id,
        display_name=display_name,
        created_at=columns.at(created_at),
        row_count=row_count,
        priority=priority,
        cancel_reason=cancel_reason,
        tally=None if tally is None else _kept(tally, columns.at(ended_at)),
    )


def _kept(tally: str, ended_at: datetime.datetime) -> BatchTally:
    kept = json.loads(tally)
    counted = {
        (columns.OUTCOMES[outcome], columns.STATUSES_OR_NONE[status]): count
        for outcome, status, count in kept["rows"]
    }
    return BatchTally(
        rows=counted,
        ended_rows=sum(counted.values()),
        changed_at=kept["changed_at"],
        ended_at=ended_at,
    )
