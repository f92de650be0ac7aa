"""Many rows a statement: keys in lists, rows through the driver.

Rows go to the driver as tuples, by statements put together here once: 10,000 new jobs take 0.3 s
this way and 0.55 s as SQLAlchemy's inserts of dicts. The SQL is the same for every database but
for the mark that stands for a value.
"""

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy

# Keys in one IN list; longer lists gain nothing more.
KEYS_PER_LIST = 500


def key_lists(keys: Collection[str]) -> Iterator[Sequence[str]]:
    """Cut keys into lists for IN, sorted: neighbours in the index are read together."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), KEYS_PER_LIST):
        yield ordered[start : start + KEYS_PER_LIST]


def select(
    connection: sqlalchemy.Connection, statement: str, keys: Collection[str]
) -> Iterator[Sequence[Any]]:
    """Yield what a statement finds for keys, which stand in it as `{keys}`."""
    mark = _mark(connection)
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
    if rows:
        connection.exec_driver_sql(_insert(table, tuple(columns), _mark(connection)), list(rows))


def insert_absent(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> int:
    """Insert those rows whose key is not there yet; return how many that were."""
    if not rows:
        return 0
    statement = _insert(table, tuple(columns), _mark(connection)) + " ON CONFLICT DO NOTHING"
    return connection.exec_driver_sql(statement, list(rows)).rowcount


def update(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> None:
    """Set these columns in rows found by their key; each tuple holds the values, then the key."""
    if rows:
        statement = _update(table, tuple(columns), _mark(connection))
        connection.exec_driver_sql(statement, list(rows))


def _mark(connection: sqlalchemy.Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


@functools.cache
def _insert(table: sqlalchemy.Table, columns: tuple[str, ...], mark: str) -> str:
    marks = ", ".join([mark] * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 (own names)


@functools.cache
def _update(table: sqlalchemy.Table, columns: tuple[str, ...], mark: str) -> str:
    changes = ", ".join(f"{column} = {mark}" for column in columns)
    key = " AND ".join(f"{column.name} = {mark}" for column in table.primary_key)
    return f"UPDATE {table.name} SET {changes} WHERE {key}"  # noqa: S608 (own names)
