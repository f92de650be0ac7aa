"""The labels of files."""

import datetime
from collections.abc import Collection

import sqlalchemy

from dshpc_server.store.port import FileRecord
from dshpc_server.store.sql import bulk, columns, tables

_files = tables.files.c


def find(connection: sqlalchemy.Connection, file_hash: str) -> FileRecord | None:
    """Return the labels of a file."""
    statement = sqlalchemy.select(*columns.FILE).where(_files.file_hash == file_hash)
    row = connection.execute(statement).one_or_none()
    return None if row is None else columns.file_record(row)


def put(connection: sqlalchemy.Connection, record: FileRecord) -> FileRecord:
    """Store labels; for a known file keep what is there and touch it."""
    names = [column.name for column in columns.FILE]
    if not bulk.insert_absent(
        connection, tables.files, names, [columns.file_record_values(record)]
    ):
        touch(connection, [record.file_hash], record.last_used_at)
    return find(connection, record.file_hash) or record


def touch(
    connection: sqlalchemy.Connection, file_hashes: Collection[str], used_at: datetime.datetime
) -> None:
    """Move the time of last use forward, never back. Unknown files are passed over."""
    used = columns.moment(used_at)
    statement = (
        sqlalchemy.update(tables.files)
        .where(_files.file_hash.in_(sqlalchemy.bindparam("keys", expanding=True)))
        .where(_files.last_used_at < used)
        .values(last_used_at=used)
    )
    for keys in bulk.key_lists(set(file_hashes)):
        connection.execute(statement, {"keys": keys})
