"""The records of what the content store holds: files with their labels, outputs without."""

import datetime
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.store.port import ContentGoingError
from dshpc_server.store.records import FileRecord, ListPosition
from dshpc_server.store.sql import bulk, columns, exclusion, joins, tables, undecided

_files = tables.files.c
_FILE = (
    _files.file_hash,
    _files.size_bytes,
    _files.filename,
    _files.media_type,
    _files.created_at,
    _files.last_used_at,
)
_NAMES = tuple(column.name for column in _FILE)
_IS_DELETING = sqlalchemy.text("files.is_deleting = 1")
_DELETING = sqlalchemy.select(_files.file_hash).where(_IS_DELETING)
_NEWEST_FIRST = (_files.created_at, _files.file_hash)
# What is being deleted is nobody's any more.
_STAYING = sqlalchemy.select(*_FILE).where(sqlalchemy.text("files.is_deleting = 0"))
_LISTED = _STAYING.order_by(*(each.desc() for each in _NEWEST_FIRST))


def find(connection: sqlalchemy.Connection, file_hash: str) -> FileRecord | None:
    """Return the labels of a file."""
    statement = _STAYING.where(_files.file_hash == file_hash)
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
    """Store labels; for a known file keep those it has, and touch it.

    Raises ContentGoingError while it is being deleted.
    """
    exclusion.use_content(connection)
    _check_staying(connection, [record.file_hash])
    values = _values(record)
    if not bulk.insert_absent(connection, tables.files, _NAMES, [values]):
        _label(connection, record)
        touch(connection, [record.file_hash], record.last_used_at)
    return find(connection, record.file_hash) or record


def put_outputs(
    connection: sqlalchemy.Connection, outputs: Sequence[tuple[str, int, datetime.datetime]]
) -> None:
    """Remember outputs by hash, size and moment; those that are known are touched.

    Raises ContentGoingError when some is being deleted. That no deletion begins is the caller's
    business.
    """
    if not outputs:
        return
    _check_staying(connection, [output_hash for output_hash, _, _ in outputs])
    records = [
        FileRecord(
            file_hash=output_hash,
            size_bytes=size_bytes,
            filename="",
            media_type="",
            created_at=at,
            last_used_at=at,
        )
        # Sorted: two servers that put the same ones wait for each other, never in a circle.
        for output_hash, size_bytes, at in sorted(outputs)
    ]
    values = [_values(record) for record in records]
    if bulk.insert_absent(connection, tables.files, _NAMES, values) < len(values):
        for record in records:
            touch(connection, [record.file_hash], record.last_used_at)


def use(
    connection: sqlalchemy.Connection, file_hashes: Collection[str], used_at: datetime.datetime
) -> None:
    """Touch content that is needed. Raises ContentGoingError when some is being deleted.

    No deletion begins before the end of this transaction.
    """
    exclusion.use_content(connection)
    _check_staying(connection, file_hashes)
    touch(connection, file_hashes, used_at)


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


def begin_deleting(
    connection: sqlalchemy.Connection, file_hash: str, at: datetime.datetime
) -> bool:
    """Mark a file as being deleted, with a record if it had none; answer whether it had one."""
    values = _values(_unknown(file_hash, at))
    was_known = not bulk.insert_absent(connection, tables.files, _NAMES, [values])
    connection.execute(
        sqlalchemy.update(tables.files).where(_files.file_hash == file_hash).values(is_deleting=1)
    )
    return was_known


def deleting(connection: sqlalchemy.Connection) -> Sequence[str]:
    """Return the files that are being deleted."""
    return list(connection.execute(_DELETING.order_by(_files.file_hash)).scalars())


def forget(connection: sqlalchemy.Connection, file_hash: str) -> bool:
    """Forget a file if it is being deleted; answer whether it was."""
    statement = sqlalchemy.delete(tables.files).where(_files.file_hash == file_hash, _IS_DELETING)
    return connection.execute(statement).rowcount > 0


def unused(
    connection: sqlalchemy.Connection, before: datetime.datetime, limit: int
) -> Sequence[FileRecord]:
    """Return files that were not used since, the longest unused first; see the port."""
    attempts = tables.attempts.c
    oldest = connection.execute(
        sqlalchemy.select(sqlalchemy.func.min(attempts.queued_at)).where(joins.NOT_ENDED)
    ).scalar_one()
    moments = [columns.moment(before), oldest, undecided.oldest(connection)]
    until = min(each for each in moments if each is not None)
    statement = (
        _STAYING.where(_files.last_used_at < until)
        .order_by(_files.last_used_at, _files.file_hash)
        .limit(limit)
    )
    return [_record(row) for row in connection.execute(statement).all()]


def _check_staying(connection: sqlalchemy.Connection, file_hashes: Collection[str]) -> None:
    going = set(connection.execute(_DELETING).scalars()).intersection(file_hashes)
    if going:
        raise ContentGoingError(min(going))


def _unknown(file_hash: str, at: datetime.datetime) -> FileRecord:
    return FileRecord(
        file_hash=file_hash,
        size_bytes=0,
        filename="",
        media_type="",
        created_at=at,
        last_used_at=at,
    )


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
