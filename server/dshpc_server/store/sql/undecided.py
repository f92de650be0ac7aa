"""Rows that wait for others: their plans and dependencies between values and columns.

Both are there from the row's acceptance until it is decided, or is never to be. What a row comes
after is also written beside it, for who asks for it again: that stays as long as it names no job.
"""

import collections
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import lookup
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, Outcome
from dshpc_server.store.records import NewBatch, NewRow
from dshpc_server.store.sql import bulk, columns, joins, tables
from dshpc_server.store.undecided import Dependency, Ready, Undecided

_rows = tables.batch_rows.c
_undecided = tables.undecided_rows.c
_dependencies = tables.dependencies.c
_attempts = tables.attempts.c
_batches = tables.batches.c
_PLAN = (
    "config_index",
    "method_name",
    "function_hash",
    "inputs",
    "parameters_json",
    "cpus",
    "memory_bytes",
    "gpus",
    "timeout_seconds",
    "cache_policy",
    "resubmit_policy",
    "max_attempts",
)
_NEW_UNDECIDED = ("batch_id", "row_index", "waits_for", *_PLAN)
_NEW_DEPENDENCY = (
    "batch_id",
    "row_index",
    "position",
    "upstream_index",
    "upstream_job_id",
    "upstream_attempt",
    "condition",
    "input_name",
    "upstream_name",
)
# Written out, so that the partial index is used.
IS_READY = sqlalchemy.text("undecided_rows.waits_for = 0")
_OF_ROW = (_rows.batch_id == _undecided.batch_id) & (_rows.row_index == _undecided.row_index)
_READY = (
    sqlalchemy.select(
        _undecided.batch_id,
        _undecided.row_index,
        _rows.head,
        _rows.priority,
        *(_undecided[name] for name in _PLAN),
    )
    .select_from(tables.undecided_rows.join(tables.batch_rows, _OF_ROW))
    .where(IS_READY, _rows.outcome == Outcome.PENDING.value)
    .order_by(_undecided.batch_id, _undecided.row_index)
)
# Of a chain that attempt which was not retried has the output.
_job_id = sqlalchemy.func.coalesce(_rows.job_id, _dependencies.upstream_job_id)
_chain = sqlalchemy.func.coalesce(_rows.attempt, _dependencies.upstream_attempt)
_WITH_UPSTREAM = tables.dependencies.outerjoin(
    tables.batch_rows,
    (_rows.batch_id == _dependencies.batch_id) & (_rows.row_index == _dependencies.upstream_index),
).join(
    tables.attempts,
    (_attempts.job_id == _job_id)
    & (_attempts.chain == _chain)
    & sqlalchemy.text("attempts.is_retried = 0"),
)
_OUTPUTS = (
    sqlalchemy.select(_dependencies.row_index, _dependencies.input_name, _attempts.output_hash)
    .select_from(_WITH_UPSTREAM)
    .where(_dependencies.batch_id == sqlalchemy.bindparam("batch"))
    .where(_dependencies.row_index.in_(joins.KEYS), _dependencies.input_name != "")
)
_ANY = sqlalchemy.select(_undecided.batch_id).limit(1)
_OLDEST = sqlalchemy.select(sqlalchemy.func.min(_batches.created_at)).where(
    _batches.batch_id.in_(sqlalchemy.select(_undecided.batch_id))
)
_WAITING_FOR_OUTPUT = (
    sqlalchemy.select(_dependencies.batch_id, _dependencies.row_index)
    .select_from(_WITH_UPSTREAM)
    .where(_dependencies.input_name != "")
    .where(_attempts.output_hash == sqlalchemy.bindparam("file"))
    .limit(1)
)

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def insert(connection: sqlalchemy.Connection, batch: NewBatch) -> None:
    """Store the plans and the dependencies of those rows of a batch that wait."""
    waiting = [row for row in batch.rows if row.undecided is not None]
    plans = [_undecided_values(batch.batch_id, row) for row in waiting]
    bulk.insert(connection, tables.undecided_rows, _NEW_UNDECIDED, plans)
    links = [
        _dependency_values(batch.batch_id, row.index, position, each)
        for row in waiting
        for position, each in enumerate(row.dependencies)
    ]
    bulk.insert(connection, tables.dependencies, _NEW_DEPENDENCY, links)


def drop(connection: sqlalchemy.Connection, batch_id: str, indexes: Collection[int]) -> None:
    """Forget what these rows were to run, and what they waited for."""
    for table in (tables.dependencies, tables.undecided_rows):
        of_these = (table.c.batch_id == batch_id) & table.c.row_index.in_(joins.KEYS)
        for keys in bulk.index_lists(indexes):
            connection.execute(sqlalchemy.delete(table).where(of_these), {"keys": keys})


def written(dependencies: Sequence[Dependency]) -> str | None:
    """Return what a row comes after, as it is kept with the row; None for nothing."""
    return _encode([_told(each) for each in dependencies]) if dependencies else None


def read(comes_after: str | None) -> Sequence[Dependency]:
    """Return what `written` wrote."""
    return [] if comes_after is None else [_dependency(*each) for each in json.loads(comes_after)]


def are_there(connection: sqlalchemy.Connection) -> bool:
    """Whether any row waits for another."""
    return connection.execute(_ANY).one_or_none() is not None


def oldest(connection: sqlalchemy.Connection) -> int | None:
    """Return when the first of the batches was accepted in which rows wait; None without one."""
    found: int | None = connection.execute(_OLDEST).scalar_one()
    return found


def find_user(connection: sqlalchemy.Connection, file_hash: str) -> tuple[str, int] | None:
    """Return batch and index of some row that needs this content once it is looked up."""
    waiting = connection.execute(_WAITING_FOR_OUTPUT, {"file": file_hash}).one_or_none()
    if waiting is not None:
        return waiting.batch_id, waiting.row_index
    # The database looks for the word; whether it stands there as a value is looked at here.
    statement = sqlalchemy.select(
        _undecided.batch_id, _undecided.row_index, _undecided.inputs
    ).where(_undecided.inputs.contains(file_hash, autoescape=True))
    for batch_id, index, inputs in connection.execute(statement):
        if file_hash in json.loads(inputs).values():
            return batch_id, index
    return None


def ready(connection: sqlalchemy.Connection, within: str | None, limit: int) -> Sequence[Ready]:
    """Return rows of one batch, or of all, that can be looked up, with all their inputs."""
    statement = _READY.limit(limit)
    if within is not None:
        statement = statement.where(_undecided.batch_id == within)
    found = connection.execute(statement).all()
    by_batch: dict[str, list[int]] = collections.defaultdict(list)
    for batch_id, index, *_ in found:
        by_batch[batch_id].append(index)
    outputs: dict[tuple[str, int], dict[str, str]] = collections.defaultdict(dict)
    for batch_id, indexes in by_batch.items():
        for index, name, output_hash in _outputs(connection, batch_id, indexes):
            outputs[batch_id, index][name] = output_hash
    return [
        Ready(
            batch_id=batch_id,
            index=index,
            head=head,
            priority=priority,
            plan=_plan(plan, outputs[batch_id, index]),
        )
        for batch_id, index, head, priority, *plan in found
    ]


def _outputs(
    connection: sqlalchemy.Connection, batch_id: str, indexes: Collection[int]
) -> Iterator[Sequence[Any]]:
    for keys in bulk.index_lists(indexes):
        yield from connection.execute(_OUTPUTS, {"batch": batch_id, "keys": keys}).all()


def _undecided_values(batch_id: str, row: NewRow) -> tuple[object, ...]:
    """Return the columns of _NEW_UNDECIDED."""
    plan = row.undecided
    if plan is None or not row.dependencies:
        raise ValueError(f"row {row.index} of batch '{batch_id}' waits for nothing")
    return (
        batch_id,
        row.index,
        len(row.dependencies),
        plan.config_index,
        plan.method_name,
        plan.function_hash,
        columns.inputs_json(plan.inputs),
        plan.parameters_json,
        plan.resources.cpus,
        plan.resources.memory_bytes,
        plan.resources.gpus,
        plan.timeout_seconds,
        plan.policy.cache.value,
        plan.policy.resubmit.value,
        plan.policy.max_attempts,
    )


def _dependency_values(
    batch_id: str, index: int, position: int, dependency: Dependency
) -> tuple[object, ...]:
    """Return the columns of _NEW_DEPENDENCY."""
    return (batch_id, index, position, *_told(dependency))


def _told(dependency: Dependency) -> tuple[object, ...]:
    """Return a dependency, whosever it is."""
    chain = dependency.upstream_chain
    return (
        dependency.upstream_index,
        None if chain is None else chain.job_id,
        None if chain is None else chain.number,
        dependency.condition.value,
        dependency.input_name,
        dependency.upstream_name,
    )


def _dependency(
    index: int | None,
    job_id: str | None,
    number: int | None,
    condition: str,
    input_name: str,
    name: str,
) -> Dependency:
    """Build what `_told` told."""
    chain = None
    if job_id is not None and number is not None:
        chain = AttemptKey(job_id=job_id, number=number)
    return Dependency(
        upstream_index=index,
        upstream_chain=chain,
        condition=Condition(condition),
        input_name=input_name,
        upstream_name=name,
    )


def _plan(row: Sequence[Any], outputs: dict[str, str]) -> Undecided:
    """Build a plan from the columns of _PLAN, and the outputs that are its other inputs."""
    config_index, method_name, function_hash, inputs, parameters_json, *others = row
    *resources, timeout_seconds, cache, resubmit, max_attempts = others
    return Undecided(
        config_index=config_index,
        method_name=method_name,
        function_hash=function_hash,
        inputs={**json.loads(inputs), **outputs},
        parameters_json=parameters_json,
        resources=columns.resources(resources),
        timeout_seconds=timeout_seconds,
        policy=lookup.Policy(
            cache=lookup.CachePolicy(cache),
            resubmit=lookup.ResubmitPolicy(resubmit),
            max_attempts=max_attempts,
        ),
    )
