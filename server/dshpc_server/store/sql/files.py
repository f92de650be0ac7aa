"""The records of what the content store holds: files with their labels, outputs without."""

import datetime
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.store.port import FileRecord, ListPosition
from dshpc_server.store.sql import bulk, columns, joins, tables

_files = tables.files.c
_FILE = tuple(_files)
_NAMES = tuple(column.name for column in _FILE)
_NEWEST_FIRST = (_files.created_at, _files.file_hash)
_LISTED = sqlalchemy.select(*_FILE).order_by(*(each.desc() for each in _NEWEST_FIRST))


def find(connection: sqlalchemy.Connection, file_hash: str) -> FileRecord | None:
    """Return the labels of a file."""
    statement = sqlalchemy.select(*_FILE).where(_files.file_hash == file_hash)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _record(row)


def listed(
    connection: sqlalchemy.Connection, after: ListPosition | None, limit: int
) -> Sequence[FileRecord]:
    """Return the next files, the newest first."""
    statement = _LISTED.limit(limit)
    if after is not None:
        position = (columns.moment(after.at), after.name)
        statement = statement.where(sqlalchemy.tuple_(*_NEWEST_FIRST) < position)
    return [_record(row) for row in connection.execute(statement).all()]


def put(connection: sqlalchemy.Connection, record: FileRecord) -> FileRecord:
    """Store labels; for a known file keep those it has, and touch it."""
    values = _values(record)
    if not bulk.insert_absent(connection, tables.files, _NAMES, [values]):
        _label(connection, record)
        touch(connection, [record.file_hash], record.last_used_at)
    return find(connection, record.file_hash) or record


def put_outputs(
    connection: sqlalchemy.Connection, outputs: Sequence[tuple[str, int, datetime.datetime]]
) -> None:
    """Remember outputs by hash, size and moment; those that are known are touched."""
    records = [
        FileRecord(
            file_hash=output_hash,
            size_bytes=size_bytes,
            filename="",
            media_type="",
            created_at=at,
            last_used_at=at,
        )
        for output_hash, size_bytes, at in outputs
    ]
    values = [_values(record) for record in records]
    if bulk.insert_absent(connection, tables.files, _NAMES, values) < len(values):
        for record in records:
            touch(connection, [record.file_hash], record.last_used_at)


def touch(
    connection: sqlalchemy.Connection, file_hashes: Collection[str], used_at: datetime.datetime
) -> None:
    """Move the time of last use forward, never back. Unknown files are passed over."""
    used = columns.moment(used_at)
    statement = (
        sqlalchemy.update(tables.files)
        .where(_files.file_hash.in_(joins.KEYS))
        .where(_files.last_used_at < used)
        .values(last_used_at=used)
    )
    for keys in bulk.key_lists(set(file_hashes)):
        connection.execute(statement, {"keys": keys})


def delete(connection: sqlalchemy.Connection, file_hash: str) -> bool:
    """Forget a file; answer whether it was known."""
    statement = sqlalchemy.delete(tables.files).where(_files.file_hash == file_hash)
    return connection.execute(statement).rowcount > 0


def _label(connection: sqlalchemy.Connection, record: FileRecord) -> None:
    """Give labels to a file that has none: an output that is uploaded, too."""
    connection.execute(
        sqlalchemy.update(tables.files)
        .where(_files.file_hash == record.file_hash)
        .where(_files.filename == "", _files.media_type == "")
        .values(filename=record.filename, media_type=record.media_type)
    )


def _record(row: Sequence[Any]) -> FileRecord:
    """Build a file's labels from the columns of _FILE."""
    file_hash, size_bytes, filename, media_type, created_at, last_used_at = row
    return FileRecord(
        file_hash=file_hash,
        size_bytes=size_bytes,
        filename=filename,
        media_type=media_type,
        created_at=columns.at(created_at),
        last_used_at=columns.at(last_used_at),
    )


def _values(record: FileRecord) -> tuple[object, ...]:
    """Return the columns of _FILE."""
    return (
        record.file_hash,
        record.size_bytes,
        record.filename,
        record.media_type,
        columns.moment(record.created_at),
        columns.moment(record.last_used_at),
    )
