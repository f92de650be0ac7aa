"""Deleting: content is marked, and taken out of the results that hold it as their output."""

import datetime
import json
from collections.abc import Callable

import sqlalchemy

from dshpc_server import errors
from dshpc_server.store.sql import exclusion, files, joins, outputs, tables, undecided

_jobs = tables.jobs.c


def delete_file(
    connection: sqlalchemy.Connection,
    file_hash: str,
    without_output: Callable[[bytes], bytes],
    at: datetime.datetime,
) -> bool:
    """Begin to delete; answer whether anything was known of it. See `store.port.Writer`."""
    exclusion.delete_content(connection)
    user = _find_user(connection, file_hash)
    if user is not None:
        raise errors.InUseError("file", file_hash, user=f"job '{user}'")
    waiting = undecided.find_user(connection, file_hash)
    if waiting is not None:
        batch_id, index = waiting
        raise errors.InUseError("file", file_hash, user=f"row {index} of batch '{batch_id}'")
    was_output = outputs.take_out(connection, file_hash, without_output)
    return files.begin_deleting(connection, file_hash, at) or was_output


def forget_file(connection: sqlalchemy.Connection, file_hash: str) -> bool:
    """End a deletion; answer whether there was one to end."""
    exclusion.delete_content(connection)
    return files.forget(connection, file_hash)


def _find_user(connection: sqlalchemy.Connection, file_hash: str) -> str | None:
    """Return some job with an attempt in progress that has this file as an input."""
    # The database looks for the word; whether it stands there as a value is looked at here.
    statement = (
        sqlalchemy.select(_jobs.job_id, _jobs.inputs)
        .select_from(joins.ATTEMPT_OF_JOB)
        .where(joins.NOT_ENDED, _jobs.inputs.contains(file_hash, autoescape=True))
    )
    for job_id, inputs in connection.execute(statement):
        if file_hash in json.loads(inputs).values():
            return str(job_id)
    return None
