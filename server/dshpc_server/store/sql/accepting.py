"""Accepting: a batch is looked up, decided and stored, all rows together.

Safe with several servers on one database, too: jobs found are locked, jobs that are new are
inserted unless another server was quicker, and what it stored is then read back. SQLite gives the
writer the whole store, so there nothing of that ever happens.
"""

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy

from dshpc_server.domain import queue
from dshpc_server.domain.job import JobSpec
from dshpc_server.domain.lookup import CachePolicy
from dshpc_server.domain.queue import Place
from dshpc_server.store.port import RequestAcceptedError
from dshpc_server.store.records import Attempt, NewBatch, NewRow, Row
from dshpc_server.store.sql import (
    bulk,
    columns,
    files,
    named_requests,
    queueing,
    staging,
    standings,
    tables,
    undecided,
)
from dshpc_server.store.sql.deciding import Decided, NewAttempt
from dshpc_server.store.sql.standings import JobStanding, Standings


def accept(
    connection: sqlalchemy.Connection, batch: NewBatch, changed_at: int
) -> tuple[Sequence[Row], Sequence[Attempt], Collection[str]]:
    """Store a batch; return its rows and the attempts that are new. See `store.port.Writer`.

    And the jobs whose attempt got another place in the queue. `changed_at` is the stamp of the
    transaction.
    """
    _insert_batch(connection, batch)
    turns = queueing.turns(connection, columns.moment(batch.created_at))
    return _accept_rows(connection, batch, changed_at, turns, {})


def accept_piece(
    connection: sqlalchemy.Connection, batch: NewBatch, changed_at: int
) -> tuple[Sequence[Row], Sequence[Attempt], Collection[str]]:
    """Store rows of a sealed batch; return what `accept` does.

    They come in the order of their jobs, and wait in that of their indexes.
    """
    firsts = staging.find_first_turns(connection, batch.batch_id)
    turns = queueing.turns(connection, columns.moment(batch.created_at), firsts)
    positions: dict[str, int] = {}
    for row in batch.rows:
        if row.candidate is not None:
            positions.setdefault(row.candidate.spec.job_id, row.index)
    accepted = _accept_rows(connection, batch, changed_at, turns, positions)
    if turns.firsts != firsts:
        staging.keep_first_turns(connection, batch.batch_id, turns.firsts)
    return accepted


def _accept_rows(
    connection: sqlalchemy.Connection,
    batch: NewBatch,
    changed_at: int,
    turns: queue.Turns,
    positions: Mapping[str, int],
) -> tuple[Sequence[Row], Sequence[Attempt], Collection[str]]:
    files.use(connection, batch.file_hashes, batch.created_at)
    decided, moved_jobs = decide(connection, batch, changed_at, turns, positions)
    row_values = [
        _row_values(batch.batch_id, row, asked)
        for row, asked in zip(decided.rows, batch.rows, strict=True)
    ]
    bulk.insert(connection, tables.batch_rows, _NEW_ROW, row_values)
    undecided.insert(connection, batch)
    return decided.rows, [each.attempt for each in decided.new], moved_jobs


def decide(
    connection: sqlalchemy.Connection,
    batch: NewBatch,
    changed_at: int,
    turns: queue.Turns,
    positions: Mapping[str, int],
) -> tuple[Decided, Collection[str]]:
    """Decide rows, and store the jobs and attempts that are new by that; the rows are not.

    The jobs whose attempt got another place in the queue are returned as well.
    """
    decided = Decided(batch, _find_or_insert_jobs(connection, batch), changed_at)
    moved = [_moved_values(job_id, found) for job_id, found in decided.moved.items()]
    bulk.update(connection, tables.jobs, _MOVED_JOB, moved)
    created = columns.moment(batch.created_at)
    places, moved_jobs = queueing.place(
        connection,
        queueing.wanted(batch, decided.rows),
        {each.attempt.key for each in decided.new},
        turns,
        positions,
    )
    new = [_attempt_values(each, places[each.attempt.key], created) for each in decided.new]
    bulk.insert(connection, tables.attempts, _NEW_ATTEMPT, new)
    taken_over = [(0, key.job_id, key.number) for key in decided.taken_over]
    bulk.update(connection, tables.attempts, ["is_bypass"], taken_over)
    return decided, moved_jobs


def preview(connection: sqlalchemy.Connection, batch: NewBatch) -> Sequence[Row]:
    """Return what `accept` would; nothing is stored."""
    job_ids = {row.candidate.spec.job_id for row in batch.rows if row.candidate is not None}
    return Decided(batch, standings.find(connection, job_ids, batch, lock=False)).rows


_MOVED_JOB = ("newest_attempt", "answering_attempt", "counted_from")
_NEW_JOB = (*(column.name for column in columns.SPEC), "newest_attempt", "answering_attempt")
_NEW_ATTEMPT = (
    "job_id",
    "number",
    "status",
    "revision",
    "cpus",
    "memory_bytes",
    "gpus",
    "timeout_seconds",
    "replaced",
    "is_bypass",
    "chain",
    "created_at",
    "queued_at",
    "queue_index",
    "changed_at",
    "priority",
    "turn",
)
DECISION = ("outcome", "old_status", "kept", "job_id", "attempt", "head", "rejection", "changed_at")
"""What becomes of a row when it is looked up."""
_NEW_BATCH = (
    "batch_id",
    "display_name",
    "created_at",
    "row_count",
    "staged_rows",
    "priority",
    "max_failures",
    "request_id",
    "request_hash",
)
KEPT = ("config", "comes_after")
"""What a row has as long as it names no job."""
_NEW_ROW = ("batch_id", "row_index", *DECISION, "priority", *KEPT)


def _insert_batch(connection: sqlalchemy.Connection, batch: NewBatch) -> None:
    asked = batch.request
    values = (
        batch.batch_id,
        batch.display_name,
        columns.moment(batch.created_at),
        len(batch.rows) + batch.staged_rows,
        batch.staged_rows,
        batch.priority,
        batch.max_failures,
        None if asked is None else asked.request_id,
        None if asked is None else asked.request_hash,
    )
    if bulk.insert_absent(connection, tables.batches, _NEW_BATCH, [values]):
        return
    accepted = None if asked is None else named_requests.find(connection, asked.request_id)
    if accepted is None:
        raise ValueError(f"batch '{batch.batch_id}' exists")
    raise RequestAcceptedError(accepted)


def _find_or_insert_jobs(connection: sqlalchemy.Connection, batch: NewBatch) -> Standings:
    """Return how the jobs stand; those left out are of our own, or are not to be run."""
    wanted, all_ids = _wanted(batch.rows)
    found = standings.find(connection, all_ids, batch, lock=True)
    # Sorted: two servers that insert the same jobs wait for each other, never in a circle.
    absent = sorted(job_id for job_id in wanted if job_id not in found)
    values = [(*columns.spec_values(wanted[job_id]), 1, 1) for job_id in absent]
    if bulk.insert_absent(connection, tables.jobs, _NEW_JOB, values) < len(absent):
        found.add(standings.find(connection, absent, batch, lock=True))
    return found


def _wanted(rows: Sequence[NewRow]) -> tuple[dict[str, JobSpec], set[str]]:
    """Return the jobs that some row runs when they are new, and all that are named.

    The first row that would run a job says what it is.
    """
    wanted: dict[str, JobSpec] = {}
    all_ids = set()
    for row in rows:
        if row.candidate is not None:
            spec = row.candidate.spec
            all_ids.add(spec.job_id)
            if row.rejection is None and row.candidate.policy.cache is not CachePolicy.ONLY:
                wanted.setdefault(spec.job_id, spec)
    return wanted, all_ids


def _moved_values(job_id: str, found: JobStanding) -> tuple[object, ...]:
    """Return the columns of _MOVED_JOB, then the key."""
    answering = None if found.answering is None else found.answering.key.number
    newest = 1 if found.newest is None else found.newest.key.number
    return newest, answering, found.counted_from, job_id


def _attempt_values(new: NewAttempt, place: Place, created: int) -> tuple[object, ...]:
    attempt, needs = new.attempt, new.candidate.resources
    return (
        attempt.key.job_id,
        attempt.key.number,
        attempt.status.value,
        attempt.revision,
        needs.cpus,
        needs.memory_bytes,
        needs.gpus,
        new.candidate.timeout_seconds,
        None if attempt.replaced is None else attempt.replaced.value,
        int(new.is_bypass),
        attempt.chain,
        created,
        created,
        new.index,
        attempt.changed_at,
        place.priority,
        place.turn,
    )


def _row_values(batch_id: str, row: Row, asked: NewRow) -> tuple[object, ...]:
    values = (batch_id, row.index, *decision_values(row), asked.priority)
    if row.attempt is not None:
        return (*values, None, None)
    return (*values, asked.config, undecided.written(asked.dependencies))


def decision_values(row: Row) -> tuple[object, ...]:
    """Return the columns of DECISION."""
    key = None if row.attempt is None else row.attempt.key
    return (
        row.outcome.value,
        None if row.old_status is None else row.old_status.value,
        None if row.kept is None else row.kept.value,
        None if key is None else key.job_id,
        None if row.attempt is None else row.attempt.chain,
        row.head,
        row.rejection,
        row.changed_at,
    )
