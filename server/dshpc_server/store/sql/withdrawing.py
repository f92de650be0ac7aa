"""Withdrawing: a batch wants rows of its own no more, and what nobody else waits for is cancelled.

Who waits for a run is told by its rows. Jobs are held before they are looked at: whoever joins a
run holds its job, too, so of two servers the second sees what the first one did. The batch is held
before that, as by all who change rows that wait for no run yet.
"""

import collections
import dataclasses
import datetime
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.records import (
    Attempt,
    Chain,
    ChangedRows,
    Ending,
    Withdrawal,
    Withdrawn,
)
from dshpc_server.store.sql import (
    bulk,
    cancelling,
    columns,
    exclusion,
    joins,
    queueing,
    rows,
    stamps,
    tables,
    undecided,
)

_attempts = tables.attempts.c
_batches = tables.batches.c
_rows = tables.batch_rows.c
_BATCH: sqlalchemy.BindParameter[str] = sqlalchemy.bindparam("batch")
_ATTEMPT_ENDS = 3 + len(columns.ATTEMPT)
_HOLD_BATCH = (
    sqlalchemy.select(_batches.row_count)
    .where(_batches.batch_id == _BATCH, joins.IS_SHOWN)
    .with_for_update(key_share=True)
)
_open = sqlalchemy.and_(
    _rows.batch_id == _BATCH, _rows.ended_as.is_(None), rows.STATUS.in_(sorted(job.IN_PROGRESS))
)
_JOBS = (
    sqlalchemy.select(_rows.job_id)
    .select_from(joins.ROW_WITH_ATTEMPT)
    .where(_open, _rows.job_id.is_not(None))
)
_OPEN = (
    sqlalchemy.select(
        _rows.row_index, _rows.outcome, _rows.attempt, *columns.ATTEMPT, _attempts.cancel_reason
    )
    .select_from(joins.OF_ROW)
    .where(_open)
)
_WANTED_BY_OTHERS = (
    sqlalchemy.select(_rows.job_id, _rows.attempt)
    .where(_rows.job_id.in_(joins.KEYS), joins.WAITS, _rows.batch_id != _BATCH)
    .distinct()
)
_WANTED_BY_OURS = sqlalchemy.select(_rows.job_id, _rows.attempt, _rows.row_index).where(
    _rows.job_id.in_(joins.KEYS), joins.WAITS, _rows.batch_id == _BATCH
)
_KEEP_REASON = (
    sqlalchemy.update(tables.batches)
    .where(_batches.batch_id == _BATCH, _batches.cancel_reason.is_(None))
    .values(cancel_reason=sqlalchemy.bindparam("why"))
)
_CHANGING = ("outcome", "ended_as", "ended_at", "ending", "changed_at")
_CANCELLED = JobStatus.CANCELLED


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Endings:
    """What is kept of what ends by this."""

    attempt: Callable[[Attempt], Ending]
    row: Callable[[Attempt | None, datetime.datetime], bytes]
    at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What was withdrawn, and what is to be told of it."""

    withdrawn: Withdrawn
    changes: Sequence[Attempt]
    rows: ChangedRows
    job_ids: Collection[str]
    """Whose attempts changed, are to be stopped, or have another place in the queue."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _OpenRow:
    """A row that has not ended."""

    index: int
    outcome: Outcome
    attempt: Attempt | None
    """None while it waits for no run yet."""
    is_to_be_stopped: bool

    @property
    def chain(self) -> Chain | None:
        return None if self.attempt is None else (self.attempt.key.job_id, self.attempt.chain)


def withdraw(
    connection: sqlalchemy.Connection,
    asked: Withdrawal,
    endings: Endings,
    server_id: str,
    now: Callable[[], int],
    *,
    stamp: stamps.Stamp,
) -> Done | None:
    """Withdraw rows; None when there is no such batch. See `store.port.Writer`."""
    batch = {"batch": asked.batch_id}
    row_count = connection.execute(_HOLD_BATCH, batch).scalar_one_or_none()
    if row_count is None:
        return None
    job_ids = {row[0] for row in _these(connection, _JOBS, asked)}
    exclusion.hold_jobs(connection, job_ids)
    still_open = [_open_row(row) for row in _these(connection, _OPEN, asked)]
    fresh = [row for row in still_open if not row.is_to_be_stopped]
    wanted = _wanted(connection, asked, fresh)
    detached = [row for row in fresh if row.chain in wanted]
    withheld = [row for row in fresh if row.chain is None]
    stopped = {row.attempt.key.job_id for row in fresh if row.attempt and row.chain not in wanted}
    newest, changes = cancelling.cancel(
        connection,
        sorted(stopped),
        asked.reason,
        endings.attempt,
        endings.at,
        server_id,
        now,
        stamp=stamp,
    )
    by_themselves = detached + withheld
    values = [_values(asked.batch_id, row, endings, stamp()) for row in by_themselves]
    bulk.update(connection, tables.batch_rows, _CHANGING, values)
    undecided.drop(connection, asked.batch_id, [row.index for row in withheld])
    # Who is left may be in less of a hurry.
    moved = queueing.place_anew(
        connection, {row.attempt.key.job_id for row in detached if row.attempt}, now()
    )
    if asked.indexes is None and still_open:
        connection.execute(_KEEP_REASON, {**batch, "why": asked.reason})
    total = row_count if asked.indexes is None else _how_many(row_count, asked.indexes)
    return Done(
        withdrawn=Withdrawn(
            cancel_requested=len(fresh) - len(detached),
            detached=len(detached),
            already_terminal=total - len(fresh),
            to_stop=[each.key for each in newest if each.status not in job.TERMINAL],
        ),
        changes=changes,
        rows=ChangedRows(
            batch_id=asked.batch_id, indexes=sorted(row.index for row in by_themselves)
        ),
        job_ids=stopped.union(moved),
    )


def _how_many(row_count: int, indexes: Collection[int]) -> int:
    return sum(0 <= index < row_count for index in set(indexes))


def _these(
    connection: sqlalchemy.Connection, statement: sqlalchemy.Select[Any], asked: Withdrawal
) -> Iterator[sqlalchemy.Row[Any]]:
    """Yield what a statement finds among the rows that are to be withdrawn."""
    batch = {"batch": asked.batch_id}
    if asked.indexes is None:
        yield from connection.execute(statement, batch).all()
        return
    some = statement.where(_rows.row_index.in_(joins.INDEXES))
    for indexes in bulk.index_lists(set(asked.indexes)):
        yield from connection.execute(some, {**batch, "indexes": indexes}).all()


def _open_row(row: Sequence[Any]) -> _OpenRow:
    index, outcome, chain = row[:3]
    return _OpenRow(
        index=index,
        outcome=columns.OUTCOMES[outcome],
        attempt=None if chain is None else columns.attempt(row[3:_ATTEMPT_ENDS]),
        is_to_be_stopped=row[_ATTEMPT_ENDS] is not None,
    )


def _wanted(
    connection: sqlalchemy.Connection, asked: Withdrawal, fresh: Sequence[_OpenRow]
) -> set[Chain]:
    """Return those of the rows' runs for which somebody else waits."""
    batch = {"batch": asked.batch_id}
    waiting: Mapping[Chain, set[int]] = collections.defaultdict(set)
    wanted: set[Chain] = set()
    for keys in bulk.key_lists({row.chain[0] for row in fresh if row.chain is not None}):
        others = connection.execute(_WANTED_BY_OTHERS, {**batch, "keys": keys})
        wanted.update((job_id, chain) for job_id, chain in others)
        if asked.indexes is not None:
            for job_id, chain, index in connection.execute(
                _WANTED_BY_OURS, {**batch, "keys": keys}
            ):
                waiting[job_id, chain].add(index)
    withdrawn = set(asked.indexes or ())
    return wanted | {chain for chain, indexes in waiting.items() if indexes - withdrawn}


def _values(batch_id: str, row: _OpenRow, endings: Endings, changed_at: int) -> tuple[object, ...]:
    """Return the columns of _CHANGING, then the key."""
    outcome = Outcome.WITHHELD if row.attempt is None else row.outcome
    return (
        outcome.value,
        _CANCELLED.value,
        columns.moment(endings.at),
        endings.row(row.attempt, endings.at),
        changed_at,
        batch_id,
        row.index,
    )
