"""Rows that are made what they can become by use cases of other tests: by hand-written SQL."""

from collections.abc import Callable

import sqlalchemy

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.port import Store, Writer
from dshpc_server.store.records import ChangedRows
from dshpc_server.store.sql import columns, tables
from dshpc_server.store.sql.writer import SqlWriter
from support import store_values as v

ENDED_AT = v.later(60)
ENDING = b"ending"
_rows = tables.batch_rows.c


def end_row(
    store: Store,
    batch_id: str,
    index: int,
    status: JobStatus | None,
    *,
    outcome: Outcome | None = None,
) -> None:
    """Have a row end by itself like this, at ENDED_AT; without a status it only gets an outcome."""
    v.write(store, ending(batch_id, index, status, outcome=outcome))


def ending(
    batch_id: str, index: int, status: JobStatus | None, *, outcome: Outcome | None = None
) -> Callable[[Writer], None]:
    """A work that does so, and has it told."""
    values: dict[str, object] = {}
    if outcome is not None:
        values |= {"outcome": outcome.value, "rejection": None}
    if status is not None:
        ended_at = columns.moment(ENDED_AT)
        values |= {"ended_as": status.value, "ended_at": ended_at, "ending": ENDING}
    return _changing(batch_id, index, values)


def deciding(batch_id: str, index: int, job_id: str) -> Callable[[Writer], None]:
    """A work that ties a row which was undecided to the first attempt of a job, and has it told."""
    values = {"outcome": Outcome.FOUND_IN_PROGRESS.value, "job_id": job_id, "attempt": 1}
    return _changing(batch_id, index, values)


def of_an_earlier_version(batch_id: str, index: int) -> Callable[[Writer], None]:
    """A work that makes a row one of before there were stamps."""
    return _changing(batch_id, index, {}, stamp=0)


def _changing(
    batch_id: str, index: int, values: dict[str, object], *, stamp: int | None = None
) -> Callable[[Writer], None]:
    def work(writer: Writer) -> None:
        assert isinstance(writer, SqlWriter)
        statement = sqlalchemy.update(tables.batch_rows).where(
            _rows.batch_id == batch_id, _rows.row_index == index
        )
        changed_at = writer._stamp() if stamp is None else stamp
        writer._connection.execute(statement.values(values | {"changed_at": changed_at}))
        writer.changed_rows.append(ChangedRows(batch_id=batch_id, indexes=[index]))

    return work
