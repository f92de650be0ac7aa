"""Settling: what an end means for the rows that wait for it; see `domain.dependencies`.

A batch's dependencies are changed holding its row, so that of two servers the second sees what the
first one did. Settling again changes nothing.
"""

import collections
import dataclasses
import datetime
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import dependencies as rules
from dshpc_server.domain.dependencies import Condition, End, Link, State
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.sql import bulk, columns, exclusion, joins, stamps, tables, undecided
from dshpc_server.store.undecided import Skip, Upstreams

READY_ROWS = 500
"""So many are told at a time; releasing them takes a transaction for each batch."""
SETTLED_DEPENDENCIES = 2_000
"""So many are noted in a transaction, which takes a few hundredths of a second."""
_rows = tables.batch_rows.c
_attempts = tables.attempts.c
_dependencies = tables.dependencies.c
_undecided = tables.undecided_rows.c
_NOT_MET = sqlalchemy.text("dependencies.is_met = 0")
_COLUMNS = (
    _dependencies.batch_id,
    _dependencies.row_index,
    _dependencies.position,
    _dependencies.condition,
    _dependencies.upstream_name,
)
_UPSTREAM_ROW = (_rows.batch_id == _dependencies.batch_id) & (
    _rows.row_index == _dependencies.upstream_index
)
_SHOWN = (
    (_attempts.job_id == _rows.job_id)
    & (_attempts.chain == _rows.attempt)
    & sqlalchemy.text("attempts.is_retried = 0")
)
# Rows that have ended: by themselves, with their attempt, or because they name no job.
_ON_ROWS = (
    sqlalchemy.select(*_COLUMNS, _rows.outcome, _rows.ended_as, _attempts.status)
    .select_from(
        tables.dependencies.join(tables.batch_rows, _UPSTREAM_ROW).outerjoin(
            tables.attempts, _SHOWN
        )
    )
    .where(
        _NOT_MET,
        _rows.ended_as.is_not(None)
        | _attempts.ended_at.is_not(None)
        | _rows.outcome.in_([Outcome.REJECTED.value, Outcome.NOT_FOUND.value]),
    )
)
# Whatever it was submitted as, what counts is how it ended.
_ON_JOBS = (
    sqlalchemy.select(
        *_COLUMNS, sqlalchemy.literal(Outcome.SUBMITTED.value), sqlalchemy.null(), _attempts.status
    )
    .select_from(
        tables.dependencies.join(
            tables.attempts,
            (_attempts.job_id == _dependencies.upstream_job_id)
            & (_attempts.chain == _dependencies.upstream_attempt)
            & sqlalchemy.text("attempts.is_retried = 0"),
        )
    )
    .where(
        _NOT_MET,
        sqlalchemy.text("dependencies.upstream_job_id IS NOT NULL"),
        _attempts.ended_at.is_not(None),
    )
)
# In the words of the index by which rows that wait for a run are found.
_ON_ROWS_WITH_JOBS = _ON_ROWS.where(joins.WAITS, _rows.job_id.in_(joins.KEYS))
_ON_THESE_JOBS = _ON_JOBS.where(_dependencies.upstream_job_id.in_(joins.KEYS))
_ON_ROWS_IN_BATCHES = _ON_ROWS.where(_dependencies.batch_id.in_(joins.KEYS))
_ON_JOBS_IN_BATCHES = _ON_JOBS.where(_dependencies.batch_id.in_(joins.KEYS))
_ON_THESE_ROWS = _ON_ROWS.where(
    _dependencies.batch_id == sqlalchemy.bindparam("batch"),
    _dependencies.upstream_index.in_(joins.KEYS),
)
_LINK = (
    _dependencies.row_index,
    _dependencies.position,
    _dependencies.upstream_index,
    _dependencies.condition,
    _dependencies.upstream_name,
)
_OF_BATCH = sqlalchemy.select(*_LINK).where(
    _NOT_MET, _dependencies.batch_id == sqlalchemy.bindparam("batch")
)


def _below() -> sqlalchemy.Select[Any]:
    """Return the question who waits for these rows, who for those, and so on down.

    Of a batch of many rows that wait few are below one that is skipped.
    """
    below = _OF_BATCH.where(_dependencies.upstream_index.in_(joins.KEYS)).cte(
        "below", recursive=True
    )
    further = tables.dependencies.join(below, _dependencies.upstream_index == below.c.row_index)
    return sqlalchemy.select(below.union(_OF_BATCH.select_from(further)))


_BELOW = _below()
_COUNT_DOWN = (
    sqlalchemy.update(tables.undecided_rows)
    .where(_undecided.batch_id == sqlalchemy.bindparam("batch"))
    .where(_undecided.row_index == sqlalchemy.bindparam("row"))
    .values(waits_for=_undecided.waits_for - sqlalchemy.bindparam("met"))
)
_SKIP = (
    sqlalchemy.update(tables.batch_rows)
    .where(_rows.batch_id == sqlalchemy.bindparam("batch"))
    .where(_rows.row_index == sqlalchemy.bindparam("row"))
    .where(_rows.outcome == Outcome.PENDING.value)
    .values(
        outcome=Outcome.WITHHELD.value,
        ended_as=JobStatus.SKIPPED.value,
        ended_at=sqlalchemy.bindparam("at"),
        ending=sqlalchemy.bindparam("end"),
        changed_at=sqlalchemy.bindparam("changed"),
    )
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    """A dependency on something that has ended."""

    batch_id: str
    row: int
    position: int
    condition: Condition
    upstream_name: str
    end: End

    @property
    def state(self) -> State:
        return rules.state(self.condition, self.end.outcome, self.end.status)


def settle(
    connection: sqlalchemy.Connection,
    upstreams: Upstreams | None,
    ending: Callable[[Skip], bytes],
    at: datetime.datetime,
    stamp: stamps.Stamp,
) -> tuple[Mapping[str, Sequence[int]], bool]:
    """Have those who wait for these go on, or skip them; return the skipped ones by batch.

    And whether there may be more. See `store.port.Writer`.
    """
    found = _find(connection, upstreams)
    batch_ids = {each.batch_id for each in found}
    if batch_ids and connection.dialect.name != "sqlite":
        exclusion.hold_batches(connection, batch_ids)
        found = _find(connection, upstreams)
    by_batch: dict[str, list[_Ended]] = collections.defaultdict(list)
    for each in found:
        by_batch[each.batch_id].append(each)
    skipped: dict[str, Sequence[int]] = {}
    for batch_id, ended in by_batch.items():
        skips = _settle_batch(connection, batch_id, ended, at)
        if skips:
            _skip(connection, skips, ending, stamp())
            skipped[batch_id] = [skip.index for skip in skips]
    return skipped, len(found) >= SETTLED_DEPENDENCIES


def _find(connection: sqlalchemy.Connection, upstreams: Upstreams | None) -> list[_Ended]:
    """Return the first dependencies on what has ended, of those that are not met yet."""
    found: dict[tuple[str, int, int], _Ended] = {}
    if not undecided.are_there(connection):
        return []
    for statement, values in _questions(upstreams):
        some = statement.limit(SETTLED_DEPENDENCIES)
        for row in connection.execute(some, values).all():
            ended = _ended(row)
            found[ended.batch_id, ended.row, ended.position] = ended
        if len(found) >= SETTLED_DEPENDENCIES:
            break
    return list(found.values())


def _questions(
    upstreams: Upstreams | None,
) -> Iterator[tuple[sqlalchemy.Select[Any], Mapping[str, object]]]:
    if upstreams is None:
        yield _ON_ROWS, {}
        yield _ON_JOBS, {}
        return
    for keys in bulk.key_lists(set(upstreams.job_ids)):
        yield _ON_ROWS_WITH_JOBS, {"keys": keys}
        yield _ON_THESE_JOBS, {"keys": keys}
    for keys in bulk.key_lists(set(upstreams.batch_ids)):
        yield _ON_ROWS_IN_BATCHES, {"keys": keys}
        yield _ON_JOBS_IN_BATCHES, {"keys": keys}
    for batch_id, indexes in upstreams.rows.items():
        for some in bulk.index_lists(set(indexes)):
            yield _ON_THESE_ROWS, {"batch": batch_id, "keys": some}


def _ended(row: Sequence[Any]) -> _Ended:
    batch_id, index, position, condition, name, outcome, ended_as, status = row
    as_it_is = ended_as or status
    return _Ended(
        batch_id=batch_id,
        row=index,
        position=position,
        condition=Condition(condition),
        upstream_name=name,
        end=End(
            outcome=columns.OUTCOMES[outcome],
            status=None if as_it_is is None else columns.STATUSES[as_it_is],
        ),
    )


def _settle_batch(
    connection: sqlalchemy.Connection,
    batch_id: str,
    found: Sequence[_Ended],
    at: datetime.datetime,
) -> Sequence[Skip]:
    """Note what is met; return what is to be skipped, each behind what it would have needed."""
    skips: dict[int, Skip] = {}
    for each in found:
        if each.state is State.UNMET:
            skips.setdefault(each.row, _skip_of(each, at))
    met = [(each.row, each.position) for each in found if each.state is State.MET]
    if skips:
        links, names = _links_below(connection, batch_id, skips)
        fates = rules.fates(
            dict.fromkeys(skips, rules.SKIPPED), [each for each in links if each.row not in skips]
        )
        for row, link in fates.unmet.items():
            skips[row] = Skip(
                batch_id=batch_id,
                index=row,
                upstream_name=names[row, link.position],
                condition=link.condition,
                end=rules.SKIPPED,
                at=at,
            )
        met += [(link.row, link.position) for link in fates.met]
    _meet(connection, batch_id, [key for key in met if key[0] not in skips])
    return list(skips.values())


def _skip_of(ended: _Ended, at: datetime.datetime) -> Skip:
    return Skip(
        batch_id=ended.batch_id,
        index=ended.row,
        upstream_name=ended.upstream_name,
        condition=ended.condition,
        end=ended.end,
        at=at,
    )


def _links_below(
    connection: sqlalchemy.Connection, batch_id: str, indexes: Collection[int]
) -> tuple[Collection[Link], Mapping[tuple[int, int], str]]:
    """Return who waits for these rows, and so on down, and what each calls what it waits for."""
    links: dict[tuple[int, int], Link] = {}
    names: dict[tuple[int, int], str] = {}
    for keys in bulk.index_lists(indexes):
        for row, position, upstream, condition, name in connection.execute(
            _BELOW, {"batch": batch_id, "keys": keys}
        ):
            links[row, position] = Link(
                row=row, position=position, upstream=upstream, condition=Condition(condition)
            )
            names[row, position] = name
    return links.values(), names


def _meet(connection: sqlalchemy.Connection, batch_id: str, met: Sequence[tuple[int, int]]) -> None:
    values = [(1, batch_id, row, position) for row, position in met]
    bulk.update(connection, tables.dependencies, ["is_met"], values)
    counts = collections.Counter(row for row, _ in met)
    if counts:
        connection.execute(
            _COUNT_DOWN,
            [{"batch": batch_id, "row": row, "met": count} for row, count in counts.items()],
        )


def _skip(
    connection: sqlalchemy.Connection,
    skips: Sequence[Skip],
    ending: Callable[[Skip], bytes],
    changed_at: int,
) -> None:
    values = [
        {
            "batch": each.batch_id,
            "row": each.index,
            "at": columns.moment(each.at),
            "end": ending(each),
            "changed": changed_at,
        }
        for each in skips
    ]
    connection.execute(_SKIP, values)
    undecided.drop(connection, skips[0].batch_id, [each.index for each in skips])
