"""The deployment that a store belongs to: a row that is made once."""

import pathlib

import sqlalchemy

from dshpc_server.store.sql import tables

_deployment = tables.deployment.c
# Waits for whoever is just making it; the same in every database.
_KEEP = sqlalchemy.text(
    "INSERT INTO deployment (is_only, deployment_id) VALUES (1, :kept) ON CONFLICT DO NOTHING"
)
_FIND = sqlalchemy.select(_deployment.deployment_id).where(_deployment.is_only == 1)
# What every other row comes with.
_STORED = [
    sqlalchemy.select(column).limit(1)
    for column in (tables.batches.c.batch_id, tables.jobs.c.job_id, tables.files.c.file_hash)
]


def keep(connection: sqlalchemy.Connection, deployment_id: str) -> str:
    """Keep this id unless there is one; return the one that is kept."""
    connection.execute(_KEEP, {"kept": deployment_id})
    return str(connection.execute(_FIND).scalar())


def find(connection: sqlalchemy.Connection) -> str | None:
    """Return the id that is kept, if any."""
    kept = connection.execute(_FIND).scalar()
    return None if kept is None else str(kept)


def lies_in(url: sqlalchemy.URL, folder: pathlib.Path) -> bool:
    """Whether this is a database in a file in this folder."""
    if url.get_backend_name() != "sqlite":
        return False
    return pathlib.Path(str(url.database)).resolve().is_relative_to(folder.resolve())


def is_new(connection: sqlalchemy.Connection) -> bool:
    """Whether nothing was ever stored."""
    return all(connection.execute(statement).first() is None for statement in _STORED)
