"""Many rows a statement: keys in lists, rows through the driver.

Rows go to the driver as tuples, by statements put together here once: in SQLite 10,000 new jobs
take 0.3 s this way and 0.55 s as SQLAlchemy's inserts of dicts. PostgreSQL gets them as one array
for each column: one message, one answer, and locks taken in the order of the rows. What waits
for its client in the middle of a message holds its locks no longer than in the middle of a
transaction, which of many messages in a pipeline is not so.
"""

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.dialects import postgresql

K = TypeVar("K")

# Keys in one IN list; longer lists gain nothing more.
KEYS_PER_LIST = 500
# Rows in one statement with arrays, so that no message grows without end.
_ROWS_PER_STATEMENT = 2_000


def key_lists(keys: Collection[str]) -> Iterator[Sequence[str]]:
    """Cut keys into lists for IN, sorted: neighbours in the index are read together."""
    return _cut(sorted(keys))


def index_lists(indexes: Collection[int]) -> Iterator[Sequence[int]]:
    """Cut indexes of rows into lists for IN, as `key_lists` does."""
    return _cut(sorted(indexes))


def select(
    connection: sqlalchemy.Connection, statement: str, keys: Collection[str]
) -> Iterator[Sequence[Any]]:
    """Yield what a statement finds for keys, which stand in it as `{keys}`."""
    mark = "%s" if _has_arrays(connection) else "?"
    for each in key_lists(keys):
        marks = ", ".join([mark] * len(each))
        yield from connection.exec_driver_sql(statement.format(keys=marks), tuple(each)).all()


def insert(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> None:
    """Insert rows; each tuple holds the values of these columns."""
    is_array = _has_arrays(connection)
    _run(connection, _insert(table, tuple(columns), is_array=is_array), rows)


def insert_absent(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> int:
    """Insert those rows whose key is not there yet; return how many that were."""
    statement = _insert(table, tuple(columns), is_array=_has_arrays(connection))
    return _run(connection, f"{statement} ON CONFLICT DO NOTHING", rows)


def update(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> None:
    """Set these columns in rows found by their key; each tuple holds the values, then the key."""
    is_array = _has_arrays(connection)
    _run(connection, _update(table, tuple(columns), is_array=is_array), rows)


def _cut(ordered: Sequence[K]) -> Iterator[Sequence[K]]:
    for start in range(0, len(ordered), KEYS_PER_LIST):
        yield ordered[start : start + KEYS_PER_LIST]


def _has_arrays(connection: sqlalchemy.Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _run(
    connection: sqlalchemy.Connection, statement: str, rows: Sequence[tuple[object, ...]]
) -> int:
    """Run a statement for rows; return how many it inserted or changed."""
    if not rows:
        return 0
    if not _has_arrays(connection):
        return connection.exec_driver_sql(statement, list(rows)).rowcount
    count = 0
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        arrays = tuple(map(list, zip(*rows[start : start + _ROWS_PER_STATEMENT], strict=True)))
        count += connection.exec_driver_sql(statement, arrays).rowcount
    return count


@functools.cache
def _insert(table: sqlalchemy.Table, columns: tuple[str, ...], *, is_array: bool) -> str:
    names = ", ".join(columns)
    if is_array:
        return f"INSERT INTO {table.name} ({names}) SELECT * FROM {_arrays(table, columns)}"  # noqa: S608 (own names)
    marks = ", ".join(["?"] * len(columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 (own names)


@functools.cache
def _update(table: sqlalchemy.Table, columns: tuple[str, ...], *, is_array: bool) -> str:
    key = tuple(column.name for column in table.primary_key)
    if not is_array:
        changes = ", ".join(f"{name} = ?" for name in columns)
        found = " AND ".join(f"{name} = ?" for name in key)
        return f"UPDATE {table.name} SET {changes} WHERE {found}"  # noqa: S608 (own names)
    changes = ", ".join(f"{name} = new.{name}" for name in columns)
    found = " AND ".join(f"{table.name}.{name} = new.{name}" for name in key)
    new = f"{_arrays(table, columns + key)} AS new ({', '.join(columns + key)})"
    return f"UPDATE {table.name} SET {changes} FROM {new} WHERE {found}"  # noqa: S608 (own names)


def _arrays(table: sqlalchemy.Table, columns: tuple[str, ...]) -> str:
    """Return a mark for an array of each column's kind, as a table of as many columns."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's
    kinds = [table.c[name].type.compile(dialect) for name in columns]
    return f"unnest({', '.join(f'%s::{kind}[]' for kind in kinds)})"
