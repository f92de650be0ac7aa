"""Rows that are made what they can become by use cases of other tests: by hand-written SQL."""

import sqlalchemy

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.sql import columns, tables
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v

ENDED_AT = v.later(60)
_rows = tables.batch_rows.c


def end_row(
    store: SqlStore,
    batch_id: str,
    index: int,
    status: JobStatus | None,
    *,
    outcome: Outcome | None = None,
    changed_at: int | None = None,
) -> None:
    """Have a row end by itself like this, at ENDED_AT; without a status it only gets an outcome."""
    values: dict[str, object] = {}
    if outcome is not None:
        values |= {"outcome": outcome.value, "rejection": None}
    if status is not None:
        ended_at = columns.moment(ENDED_AT)
        values |= {"ended_as": status.value, "ended_at": ended_at, "ending": b"ending"}
    if changed_at is not None:
        values |= {"changed_at": changed_at}
    statement = sqlalchemy.update(tables.batch_rows).where(
        _rows.batch_id == batch_id, _rows.row_index == index
    )
    with store._writers.begin() as connection:
        connection.execute(statement.values(values))
