"""The rules of rows that wait for others; see `invariants_rules`."""

import sqlalchemy
from sqlalchemy import ColumnElement

from dshpc_server.domain import job
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.sql import joins, tables
from dshpc_server.store.sql.invariants_runs import rule

_rows = tables.batch_rows.c
_undecided = tables.undecided_rows.c
_dependencies = tables.dependencies.c
_batches = tables.batches.c
_upstream = tables.batch_rows.alias("upstream")
_shown = tables.attempts.alias("shown")
_ROW = (_rows.batch_id.label("batch"), _rows.row_index.label("row"))
_UNDECIDED = (_undecided.batch_id.label("batch"), _undecided.row_index.label("row"))
_DEPENDENCY = (
    _dependencies.batch_id.label("batch"),
    _dependencies.row_index.label("row"),
    _dependencies.position.label("dependency"),
)
_NO_JOB = (Outcome.REJECTED.value, Outcome.NOT_FOUND.value)
_WITH_UNDECIDED = tables.batch_rows.outerjoin(
    tables.undecided_rows,
    (_undecided.batch_id == _rows.batch_id) & (_undecided.row_index == _rows.row_index),
)
_WITH_UPSTREAM = tables.dependencies.outerjoin(
    _upstream,
    (_upstream.c.batch_id == _dependencies.batch_id)
    & (_upstream.c.row_index == _dependencies.upstream_index),
).outerjoin(
    _shown,
    (_shown.c.job_id == sqlalchemy.func.coalesce(_upstream.c.job_id, _dependencies.upstream_job_id))
    & (
        _shown.c.chain
        == sqlalchemy.func.coalesce(_upstream.c.attempt, _dependencies.upstream_attempt)
    )
    & (_shown.c.is_retried == 0),
)
# Of a batch that is still being accepted the row that another waits for may come later.
_has_all_its_rows = (
    sqlalchemy.select(_batches.batch_id)
    .where(_batches.batch_id == _dependencies.batch_id, joins.IS_SHOWN)
    .exists()
)
_status = sqlalchemy.func.coalesce(_upstream.c.ended_as, _shown.c.status)
_has_ended = (
    _upstream.c.ended_as.is_not(None)
    | _shown.c.ended_at.is_not(None)
    | _upstream.c.outcome.in_(_NO_JOB)
)


def _unmet() -> ColumnElement[int]:
    """How many dependencies of a row are not met."""
    return (
        sqlalchemy.select(sqlalchemy.func.count())
        .select_from(tables.dependencies)
        .where(
            _dependencies.batch_id == _undecided.batch_id,
            _dependencies.row_index == _undecided.row_index,
            _dependencies.is_met == 0,
        )
        .scalar_subquery()
    )


def _ended_as_it_should() -> ColumnElement[bool]:
    """Whether what is waited for has ended as the condition says; never unknown."""
    succeeded = _status == JobStatus.COMPLETED.value
    failed = _status.in_(sorted(job.FAILED))
    return sqlalchemy.func.coalesce(
        sqlalchemy.case(
            (_dependencies.condition == Condition.SUCCEEDED.value, succeeded),
            (_dependencies.condition == Condition.FAILED.value, failed),
            else_=_has_ended,
        ),
        sqlalchemy.false(),
    )


RULES = (
    rule(
        "row_waits_or_is_decided",
        "what the row is to run is not kept although it waits, or is although it does not",
        sqlalchemy.select(*_ROW)
        .select_from(_WITH_UNDECIDED)
        .where((_rows.outcome == Outcome.PENDING.value) != _undecided.row_index.is_not(None)),
    ),
    rule(
        "row_waits_for_what_is_counted",
        "the row waits for more, or for less, than its dependencies that are not met",
        sqlalchemy.select(*_UNDECIDED).where(_unmet() != _undecided.waits_for),
    ),
    rule(
        "dependency_is_on_another_row",
        "it is on a row that the batch has not, or on the row itself",
        sqlalchemy.select(*_DEPENDENCY)
        .select_from(_WITH_UPSTREAM)
        .where(
            _dependencies.upstream_index.is_not(None),
            _has_all_its_rows,
            _upstream.c.row_index.is_(None)
            | (_dependencies.upstream_index == _dependencies.row_index),
        ),
    ),
    rule(
        "dependency_was_met",
        "it counts as met, and what it is on has not ended so",
        sqlalchemy.select(*_DEPENDENCY)
        .select_from(_WITH_UPSTREAM)
        .where(_dependencies.is_met == 1, ~_ended_as_it_should()),
    ),
    rule(
        "row_that_waits_goes_on",
        "what the row waits for has ended, and it has not gone on yet; a server does that",
        sqlalchemy.union(
            sqlalchemy.select(*_UNDECIDED).where(_undecided.waits_for == 0),
            sqlalchemy.select(*_DEPENDENCY[:2])
            .select_from(_WITH_UPSTREAM)
            .where(_dependencies.is_met == 0, _has_ended),
        )
        .subquery("late")
        .select(),
        is_note=True,
    ),
)
"""What holds of those rows beside what the tables say."""
