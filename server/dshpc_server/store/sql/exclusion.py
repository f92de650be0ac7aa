"""Who keeps whom out, where several servers write at the same time.

Whoever needs content and whoever deletes some exclude each other for as long as their transactions
last: what one has found stored the other has not begun to delete. Many may need content at the
same time. Whoever changes what is known of jobs holds their rows, taken in one order, and reads
after that: what is read while waiting for a row is how things stood before the wait. SQLite has one
writer, so there nothing is to be done.
"""

from collections.abc import Collection

import sqlalchemy

from dshpc_server.store.sql import bulk, joins, tables

# Any number that nothing else in the database locks by.
_CONTENT = 0x64736870_63000001
_SHARED = sqlalchemy.text(f"SELECT pg_advisory_xact_lock_shared({_CONTENT})")
_ALONE = sqlalchemy.text(f"SELECT pg_advisory_xact_lock({_CONTENT})")
_jobs = tables.jobs.c
# Who refers to a job is not kept waiting: its key stays what it is.
_HOLD = (
    sqlalchemy.select(_jobs.job_id)
    .where(_jobs.job_id.in_(joins.KEYS))
    .order_by(_jobs.job_id)
    .with_for_update(key_share=True)
)


_batches = tables.batches.c
_HOLD_BATCH = (
    sqlalchemy.select(_batches.batch_id)
    .where(_batches.batch_id.in_(joins.KEYS))
    .order_by(_batches.batch_id)
    .with_for_update(key_share=True)
)


def use_content(connection: sqlalchemy.Connection) -> None:
    """Let no deletion begin before this transaction has ended."""
    if connection.dialect.name != "sqlite":
        connection.execute(_SHARED)


def delete_content(connection: sqlalchemy.Connection) -> None:
    """Wait until nobody is about to need content, and let nobody begin to."""
    if connection.dialect.name != "sqlite":
        connection.execute(_ALONE)


def hold_jobs(connection: sqlalchemy.Connection, job_ids: Collection[str]) -> None:
    """Let nobody else change what is known of these jobs before this transaction has ended."""
    if connection.dialect.name != "sqlite":
        for keys in bulk.key_lists(job_ids):
            connection.execute(_HOLD, {"keys": keys})


def hold_batches(connection: sqlalchemy.Connection, batch_ids: Collection[str]) -> None:
    """Let nobody else settle what rows of these batches wait for before the transaction's end."""
    if connection.dialect.name != "sqlite":
        for keys in bulk.key_lists(batch_ids):
            connection.execute(_HOLD_BATCH, {"keys": keys})
