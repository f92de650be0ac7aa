"""Places in the queue: kept with the attempts that wait, by the rule of `domain.queue`.

Promise: an attempt that waits has the highest of the priorities of the rows that wait for it, a
row's own or else its batch's. What another server is just claiming waits no more, and is passed
over.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy

from dshpc_server.domain import queue
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.queue import Place
from dshpc_server.store.records import NewBatch, Row
from dshpc_server.store.sql import bulk, exclusion, joins, tables

_attempts = tables.attempts.c
_rows = tables.batch_rows.c
_batches = tables.batches.c
# A parameter, unlike in the question for a head: these go by the job.
_IS_PENDING = _attempts.status == JobStatus.PENDING.value
# The first of a class. Retries have the turns of long ago, so they are left out.
_HEAD = (
    sqlalchemy.select(_attempts.turn)
    .where(
        sqlalchemy.text("attempts.status = 'PENDING'"),
        _attempts.priority == sqlalchemy.bindparam("priority"),
        _attempts.number == _attempts.chain,
    )
    .order_by(_attempts.turn, _attempts.queued_at, _attempts.queue_index, _attempts.job_id)
    .limit(1)
)
# Held, so that nobody claims it meanwhile.
_WAITING = (
    sqlalchemy.select(
        _attempts.job_id,
        _attempts.number,
        _attempts.chain,
        _attempts.priority,
        _attempts.turn,
        _attempts.queued_at,
        _attempts.queue_index,
    )
    .where(_attempts.job_id.in_(joins.KEYS), joins.NOT_ENDED, _IS_PENDING)
    .with_for_update(skip_locked=True, key_share=True)
)
_PRIORITY = sqlalchemy.func.coalesce(_rows.priority, _batches.priority)
# Of every chain of these jobs; with what waits in the queue put together here, since a database
# that does not know yet how much there is joins the two by going through all.
_WANTED = (
    sqlalchemy.select(_rows.job_id, _rows.attempt, sqlalchemy.func.max(_PRIORITY))
    .select_from(tables.batch_rows.join(tables.batches, _batches.batch_id == _rows.batch_id))
    .where(_rows.job_id.in_(joins.KEYS), joins.WAITS)
    .group_by(_rows.job_id, _rows.attempt)
)
# What waits with the priority of a batch, or might.
_OF_BATCH = (
    sqlalchemy.select(_rows.job_id)
    .select_from(
        tables.batch_rows.join(
            tables.attempts,
            (_attempts.job_id == _rows.job_id)
            & (_attempts.chain == _rows.attempt)
            & joins.NOT_ENDED,
        )
    )
    .where(
        _rows.batch_id == sqlalchemy.bindparam("batch"),
        _rows.priority.is_(None),
        joins.WAITS,
        _IS_PENDING,
    )
)
_SET_PRIORITY = (
    sqlalchemy.update(tables.batches)
    .where(_batches.batch_id == sqlalchemy.bindparam("batch"), joins.IS_SHOWN)
    .values(priority=sqlalchemy.bindparam("wanted"))
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    """An attempt in the queue."""

    key: AttemptKey
    chain: int
    place: Place
    queued_at: int
    queue_index: int

    @property
    def order(self) -> tuple[int, int, int, int, str]:
        """What the queue's order goes by."""
        place = self.place
        return -place.priority, place.turn, self.queued_at, self.queue_index, self.key.job_id


def turns(
    connection: sqlalchemy.Connection, at: int, firsts: Mapping[int, int] | None = None
) -> queue.Turns:
    """Return the turns of a batch that comes at this moment, in microseconds, or has begun."""

    def head(priority: int) -> int | None:
        turn: int | None = connection.execute(_HEAD, {"priority": priority}).scalar()
        return turn

    return queue.Turns(head, at=at, firsts=firsts)


def wanted(batch: NewBatch, rows: Sequence[Row]) -> Mapping[AttemptKey, int]:
    """Return with which priority the rows of a batch wait, for each attempt that is in the queue.

    `rows` are those of the batch as they were decided.
    """
    priorities: dict[AttemptKey, int] = {}
    for asked, row in zip(batch.rows, rows, strict=True):
        attempt = row.attempt
        waits = attempt is not None and attempt.status is JobStatus.PENDING
        if attempt is not None and waits and row.outcome in tables.WAITING:
            priority = batch.priority if asked.priority is None else asked.priority
            priorities[attempt.key] = max(priority, priorities.get(attempt.key, priority))
    return priorities


def place(
    connection: sqlalchemy.Connection,
    priorities: Mapping[AttemptKey, int],
    new: Collection[AttemptKey],
    turns: queue.Turns,
    positions: Mapping[str, int],
) -> tuple[Mapping[AttemptKey, Place], Collection[str]]:
    """Return the places of the new ones of these attempts, and give the others theirs.

    The jobs of those others that were moved are returned as well; they are to be held. `positions`,
    by job, are given where the attempts do not come in the order of their turns.
    """
    waiting = _waiting(connection, {key.job_id for key in priorities if key not in new})
    places: dict[AttemptKey, Place] = {}
    moved: dict[AttemptKey, Place] = {}
    for key, priority in priorities.items():
        found = waiting.get(key.job_id)
        if key in new:
            places[key] = turns.place(priority, positions.get(key.job_id))
        elif found is not None:
            joined = turns.joined(found.place, priority, positions.get(key.job_id))
            if joined != found.place:
                moved[key] = joined
    _move(connection, moved)
    return places, {key.job_id for key in moved}


def set_priority(
    connection: sqlalchemy.Connection, batch_id: str, priority: int, at: int
) -> Collection[str] | None:
    """Give a batch this priority, and what waits for it its place; None: there is no such batch.

    Returns the jobs of which an attempt was moved.
    """
    changed = connection.execute(_SET_PRIORITY, {"batch": batch_id, "wanted": priority})
    if not changed.rowcount:
        return None
    job_ids = set(connection.execute(_OF_BATCH, {"batch": batch_id}).scalars())
    return place_anew(connection, job_ids, at)


def place_anew(
    connection: sqlalchemy.Connection, job_ids: Collection[str], at: int
) -> Collection[str]:
    """Give what is in the queue of these jobs the priority of the rows that still wait for it.

    It keeps its place where that has not changed, or where nobody waits for it any more. Returns
    the jobs of which an attempt was moved: their attempts were out of reach of other servers, so
    these are to be told.
    """
    exclusion.hold_jobs(connection, job_ids)
    waiting = _waiting(connection, job_ids)
    highest: dict[tuple[str, int], int] = {
        (job_id, chain): priority
        for keys in bulk.key_lists(waiting)
        for job_id, chain, priority in connection.execute(_WANTED, {"keys": keys}).all()
    }
    given = turns(connection, at)
    moved: dict[AttemptKey, Place] = {}
    for each in sorted(waiting.values(), key=lambda waits: waits.order):
        priority = highest.get((each.key.job_id, each.chain), each.place.priority)
        if priority != each.place.priority:
            moved[each.key] = given.place(priority)
    _move(connection, moved)
    return {key.job_id for key in moved}


def _waiting(connection: sqlalchemy.Connection, job_ids: Collection[str]) -> Mapping[str, _Waiting]:
    """Return what is in the queue of these jobs, by job."""
    found = {}
    for keys in bulk.key_lists(job_ids):
        for row in connection.execute(_WAITING, {"keys": keys}).all():
            job_id, number, chain, priority, turn, queued_at, queue_index = row
            found[job_id] = _Waiting(
                key=AttemptKey(job_id=job_id, number=number),
                chain=chain,
                place=Place(priority=priority, turn=turn),
                queued_at=queued_at,
                queue_index=queue_index,
            )
    return found


def _move(connection: sqlalchemy.Connection, places: Mapping[AttemptKey, Place]) -> None:
    values = [(at.priority, at.turn, key.job_id, key.number) for key, at in places.items()]
    bulk.update(connection, tables.attempts, ("priority", "turn"), values)
