"""Outputs by their hash: in which result they lie whole, who has them, and taking them out."""

from collections.abc import Callable, Collection

import sqlalchemy

from dshpc_server.store.records import Attempt
from dshpc_server.store.sql import bulk, columns, joins, tables

_jobs = tables.jobs.c
_attempts = tables.attempts.c
# In the words of the index that holds the hashes.
_INLINE = (joins.WITH_OUTPUT, _attempts.output_is_inline == 1)
_WITH_THIS_ONE = (
    sqlalchemy.select(*columns.ATTEMPT)
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(_attempts.output_hash == sqlalchemy.bindparam("output"), *_INLINE)
)
_WHICH = (
    sqlalchemy.select(_attempts.output_hash)
    .distinct()
    .where(_attempts.output_hash.in_(joins.KEYS), *_INLINE)
)
# Asked with every job of every batch, so it goes through the driver. Not as a join, which would
# begin with every job: most have nothing in the content store, as the index tells.
_KEPT = """
    SELECT output_hash FROM attempts
    WHERE job_id IN ({keys}) AND status = 'COMPLETED' AND output_hash <> '' AND output_is_inline = 0
    AND number = (SELECT answering_attempt FROM jobs WHERE jobs.job_id = attempts.job_id)
"""
_TAKE_OUT = (
    sqlalchemy.update(tables.attempts)
    .where(_attempts.job_id == sqlalchemy.bindparam("job"))
    .where(_attempts.number == sqlalchemy.bindparam("attempt"))
    .values(result=sqlalchemy.bindparam("stripped"), output_is_inline=0)
)
_ANSWER_NO_MORE = (
    sqlalchemy.update(tables.jobs)
    .where(
        sqlalchemy.tuple_(_jobs.job_id, _jobs.answering_attempt).in_(
            sqlalchemy.select(_attempts.job_id, _attempts.number).where(
                _attempts.output_hash == sqlalchemy.bindparam("output"), joins.WITH_KEPT_OUTPUT
            )
        )
    )
    .values(answering_attempt=None)
)


def find(connection: sqlalchemy.Connection, output_hash: str) -> Attempt | None:
    """Return some attempt whose result holds this output."""
    row = connection.execute(_WITH_THIS_ONE.limit(1), {"output": output_hash}).one_or_none()
    return None if row is None else columns.attempt(row)


def inline(connection: sqlalchemy.Connection, output_hashes: Collection[str]) -> set[str]:
    """Return which of these lie in results."""
    return {
        row[0]
        for keys in bulk.key_lists(output_hashes)
        for row in connection.execute(_WHICH, {"keys": keys}).all()
    }


def kept(connection: sqlalchemy.Connection, job_ids: Collection[str]) -> set[str]:
    """Return the outputs in the content store that answer for these jobs."""
    return {row[0] for row in bulk.select(connection, _KEPT, job_ids)}


def take_out(
    connection: sqlalchemy.Connection, output_hash: str, without_output: Callable[[bytes], bytes]
) -> bool:
    """Take an output out of every result, and have nobody find it any more.

    Answers whether there was anything to do.
    """
    stripped = [
        {
            "job": attempt.key.job_id,
            "attempt": attempt.key.number,
            "stripped": without_output(attempt.result or b""),
        }
        for attempt in map(
            columns.attempt, connection.execute(_WITH_THIS_ONE, {"output": output_hash}).all()
        )
    ]
    if stripped:
        connection.execute(_TAKE_OUT, stripped)
    return answer_no_more(connection, output_hash) or bool(stripped)


def answer_no_more(connection: sqlalchemy.Connection, output_hash: str) -> bool:
    """Have nobody find what has this output in the content store; whether anybody did."""
    return connection.execute(_ANSWER_NO_MORE, {"output": output_hash}).rowcount > 0
