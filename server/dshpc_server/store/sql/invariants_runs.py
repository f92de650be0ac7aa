"""The rules of jobs, attempts and chains; see `invariants_rules`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement

from dshpc_server.domain.job import JobStatus
from dshpc_server.store.inspection import Rule
from dshpc_server.store.sql import joins, tables

CLOCK_TOLERANCE_MICROSECONDS = 5_000_000
"""How far the clocks of a server and of a runner may be apart."""
STARTING_MICROSECONDS = 60_000_000
"""Who has begun a moment ago has not taken over yet what others left."""

MAX_RETRIES: sqlalchemy.BindParameter[int] = sqlalchemy.bindparam(
    "max_retries", type_=sqlalchemy.Integer
)
NOW: sqlalchemy.BindParameter[int] = sqlalchemy.bindparam("now", type_=sqlalchemy.BigInteger)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SqlRule:
    """A rule and what yields its breaches; the columns are named by what they name."""

    rule: Rule
    statement: sqlalchemy.Select[Any]


def rule(
    name: str, broken: str, statement: sqlalchemy.Select[Any], *, is_note: bool = False
) -> SqlRule:
    """Return a rule with its statement."""
    return SqlRule(rule=Rule(name=name, broken=broken, is_note=is_note), statement=statement)


DEAD: sqlalchemy.BindParameter[Sequence[str]] = sqlalchemy.bindparam("dead", expanding=True)
"""Servers of which it is known, besides what their leases tell; and the one that asks, if it is
one: it has come to look, not to take anything over."""

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_servers = tables.servers.c
_other = tables.attempts.alias("other")
_JOB = _jobs.job_id.label("job")
_ATTEMPT = (_attempts.job_id.label("job"), _attempts.number.label("attempt"))
_COMPLETED = JobStatus.COMPLETED.value


def _exists(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the same job has another attempt like this."""
    of_job = _other.c.job_id == _attempts.job_id
    return (
        sqlalchemy.select(sqlalchemy.literal(1)).select_from(_other).where(of_job, *where).exists()
    )


def _job_has(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a job has an attempt like this."""
    of_job = _other.c.job_id == _jobs.job_id
    return (
        sqlalchemy.select(sqlalchemy.literal(1)).select_from(_other).where(of_job, *where).exists()
    )


_last = (
    sqlalchemy.select(sqlalchemy.func.max(_other.c.number))
    .where(_other.c.job_id == _jobs.job_id)
    .scalar_subquery()
)
_ANSWERING = (
    sqlalchemy.select(*_ATTEMPT).select_from(joins.ANSWERING),
    # An answer that was deleted leaves its attempt, without the output.
    (_other.c.status == _COMPLETED)
    & (_other.c.is_bypass == 0)
    & (_other.c.output_hash != "")
    & (_other.c.output_is_inline == 0),
)
_JOBS = (
    rule(
        "attempts_are_numbered",
        "its attempts are not numbered from 1 without a gap",
        sqlalchemy.select(_attempts.job_id.label("job"))
        .group_by(_attempts.job_id)
        .having(
            (sqlalchemy.func.min(_attempts.number) != 1)
            | (sqlalchemy.func.max(_attempts.number) != sqlalchemy.func.count())
        ),
    ),
    rule(
        "newest_attempt_is_last",
        "newest_attempt is not its last attempt",
        sqlalchemy.select(_JOB).where(_jobs.newest_attempt != sqlalchemy.func.coalesce(_last, 0)),
    ),
    rule(
        "answering_attempt_is_there",
        "answering_attempt is none of its attempts",
        sqlalchemy.select(_JOB).where(
            _jobs.answering_attempt.is_not(None),
            ~_job_has(_other.c.number == _jobs.answering_attempt),
        ),
    ),
    rule(
        "answering_attempt_is_ordinary",
        "look-ups find an attempt that was retried, or that was for one request alone",
        _ANSWERING[0].where((_attempts.is_bypass == 1) | (_attempts.is_retried == 1)),
    ),
    rule(
        "answering_attempt_is_newest",
        "look-ups find an older attempt than they should",
        _ANSWERING[0].where(
            _exists(
                _other.c.number > _attempts.number,
                _other.c.is_bypass == 0,
                (_other.c.status == _COMPLETED) | (_attempts.status != _COMPLETED),
            )
        ),
    ),
    rule(
        "job_has_an_answer",
        "look-ups find none of its attempts, and no answer of it was deleted",
        sqlalchemy.select(_JOB).where(
            _jobs.answering_attempt.is_(None),
            _job_has(_other.c.is_bypass == 0, _other.c.is_retried == 0),
            ~_job_has(_ANSWERING[1]),
        ),
    ),
    rule(
        "answer_has_a_record",
        "its output is in the content store, and there is no record of that",
        _ANSWERING[0].where(
            _attempts.status == _COMPLETED,
            _attempts.output_hash != "",
            _attempts.output_is_inline == 0,
            ~sqlalchemy.select(sqlalchemy.literal(1))
            .where(
                tables.files.c.file_hash == _attempts.output_hash,
                tables.files.c.is_deleting == 0,
            )
            .exists(),
        ),
    ),
)
_CHAINS = (
    rule(
        "job_runs_once",
        "more than one of its attempts has not ended",
        sqlalchemy.select(_attempts.job_id.label("job"))
        .where(joins.NOT_ENDED)
        .group_by(_attempts.job_id)
        .having(sqlalchemy.func.count() > 1),
    ),
    rule(
        "active_attempt_is_newest",
        "it has not ended, and there is a newer one",
        sqlalchemy.select(*_ATTEMPT).where(
            joins.NOT_ENDED, _exists(_other.c.number > _attempts.number)
        ),
    ),
    rule(
        "chain_is_unbroken",
        "it retries an attempt that is not there, or was not retried",
        sqlalchemy.select(*_ATTEMPT).where(
            _attempts.chain < _attempts.number,
            ~_exists(
                _other.c.number == _attempts.number - 1,
                _other.c.chain == _attempts.chain,
                _other.c.is_retried == 1,
            ),
        ),
    ),
    rule(
        "retried_has_successor",
        "it was retried, and no attempt follows on it",
        sqlalchemy.select(*_ATTEMPT).where(
            _attempts.is_retried == 1,
            ~_exists(_other.c.number == _attempts.number + 1, _other.c.chain == _attempts.chain),
        ),
    ),
    rule(
        "retries_are_bounded",
        "it was retried more often than max_retries",
        sqlalchemy.select(*_ATTEMPT).where(_attempts.number - _attempts.chain > MAX_RETRIES),
    ),
    rule(
        "times_are_in_order",
        "it started before it was made, or ended before it started; was a clock set back?",
        sqlalchemy.select(*_ATTEMPT).where(
            (_attempts.started_at < _attempts.created_at - CLOCK_TOLERANCE_MICROSECONDS)
            | (_attempts.ended_at < _attempts.started_at - CLOCK_TOLERANCE_MICROSECONDS)
            | (_attempts.ended_at < _attempts.created_at - CLOCK_TOLERANCE_MICROSECONDS)
        ),
        is_note=True,
    ),
)
_record = tables.servers.alias("record")
_someone = tables.servers.alias("someone")


def _lives(server: sqlalchemy.FromClause) -> ColumnElement[bool]:
    until = server.c.lease_expires_at
    return server.c.server_id.not_in(DEAD) & (until.is_(None) | (until > NOW))


_somebody_lives = sqlalchemy.select(sqlalchemy.literal(1)).where(_lives(_someone)).exists()
_somebody_looks_around = (
    sqlalchemy.select(sqlalchemy.literal(1))
    .where(_lives(_someone), _someone.c.joined_at < NOW - STARTING_MICROSECONDS)
    .exists()
)
_OWNED = (
    sqlalchemy.select(*_ATTEMPT)
    .select_from(tables.attempts.outerjoin(_record, _record.c.server_id == _attempts.owner))
    .where(joins.NOT_ENDED, _attempts.owner.is_not(None))
)
OWNERS = (
    rule(
        "owner_is_known",
        "the server that has it is not there, and none of those that are has taken it over",
        _OWNED.where(_record.c.server_id.is_(None), _somebody_looks_around),
    ),
    rule(
        "owner_lives",
        "it waits for a server that can take it over",
        _OWNED.where(
            (_record.c.server_id.is_(None) & ~_somebody_lives)
            | (
                _record.c.server_id.is_not(None)
                & ~_lives(_record)
                & ~sqlalchemy.select(sqlalchemy.literal(1))
                .where(_lives(_someone), _someone.c.scope == _record.c.scope)
                .exists()
            )
        ),
        is_note=True,
    ),
)
RULES = (*_JOBS, *_CHAINS, *OWNERS)
"""The rules that tie one attempt to another, to its job and to its server."""
