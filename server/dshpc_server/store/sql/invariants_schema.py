"""Whether a database still has what the tables' definitions say: columns, checks, keys, indexes.

One that was changed by hand, or restored without its indexes, lets through what it should refuse,
or answers slowly. What it has besides is not looked at.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy

from dshpc_server.store.inspection import Rule, Which
from dshpc_server.store.sql import tables

TABLE = "table_is_there"
CONSTRAINT = "constraint_is_there"
INDEX = "index_is_there"
WHOLE = "database_is_whole"
RULES: Mapping[str, Rule] = {
    each.name: each
    for each in (
        Rule(name=WHOLE, broken="the database is damaged"),
        Rule(name=TABLE, broken="a table or a column is not there"),
        Rule(name=CONSTRAINT, broken="the database does not hold a rule of its tables"),
        Rule(name=INDEX, broken="an index is not there, or is another one"),
    )
}
# Data and indexes corrupted, a character that is none, a table or a column that is not there.
_POSTGRES_DAMAGE = frozenset({"XX001", "XX002", "22021", "42P01", "42703"})
# The last is a statement that is wrong for this database: something is not there.
_SQLITE_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")
# Told row by row, by the rules of that name.
_TOLD_ELSEWHERE = "CHECK constraint failed in"


def breaches(connection: sqlalchemy.Connection, name: str) -> list[Which]:
    """Return what breaks one of these rules."""
    if name == WHOLE:
        return [(("database", line),) for line in _damage(connection)]
    look = {TABLE: _missing_columns, CONSTRAINT: _missing_constraints, INDEX: _missing_indexes}
    return list(look[name](sqlalchemy.inspect(connection)))


def is_damage(error: sqlalchemy.exc.DBAPIError) -> bool:
    """Whether this says that what is stored cannot be read."""
    cause: Any = error.orig
    if isinstance(cause, sqlite3.Error):
        # The driver's own, without a name, is that a text is none.
        name = getattr(cause, "sqlite_errorname", None)
        return name is None or name.startswith(_SQLITE_DAMAGE)
    return getattr(cause, "sqlstate", None) in _POSTGRES_DAMAGE


def make_index(connection: sqlalchemy.Connection, name: str) -> None:
    """Make an index as it should be; IntegrityError when rows stand against it."""
    for table in tables.metadata.sorted_tables:
        for index in table.indexes:
            if index.name == name:
                index.drop(connection, checkfirst=True)
                index.create(connection)


def _damage(connection: sqlalchemy.Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return  # PostgreSQL has no such question
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check").all():
        if line != "ok" and not line.startswith(_TOLD_ELSEWHERE):
            yield line


def _missing_columns(inspector: sqlalchemy.Inspector) -> Iterator[Which]:
    for table in tables.metadata.sorted_tables:
        if not inspector.has_table(table.name):
            yield (("table", table.name),)
            continue
        found = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in found:
                yield ("table", table.name), ("column", column.name)


def _missing_constraints(inspector: sqlalchemy.Inspector) -> Iterator[Which]:
    for table in _tables(inspector):
        found = {check["name"] for check in inspector.get_check_constraints(table.name)}
        found.update(
            _reference(key["constrained_columns"], key["referred_table"])
            for key in inspector.get_foreign_keys(table.name)
        )
        found.add(",".join(inspector.get_pk_constraint(table.name)["constrained_columns"]))
        for constraint in sorted(table.constraints, key=lambda each: str(each.name)):
            if _known_as(constraint) not in found:
                yield ("table", table.name), ("constraint", str(constraint.name))


def _known_as(constraint: sqlalchemy.Constraint) -> str:
    """Checks go by their name, others by their columns: their names a database may not keep."""
    if isinstance(constraint, sqlalchemy.ForeignKeyConstraint):
        return _reference(list(constraint.column_keys), constraint.referred_table.name)
    if isinstance(constraint, sqlalchemy.PrimaryKeyConstraint):
        return ",".join(column.name for column in constraint)
    return str(constraint.name)


def _reference(columns: list[str], table: str) -> str:
    return f"{','.join(columns)} to {table}"


def _missing_indexes(inspector: sqlalchemy.Inspector) -> Iterator[Which]:
    for table in _tables(inspector):
        found = {index["name"]: index for index in inspector.get_indexes(table.name)}
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            there: Any = found.get(str(index.name))
            if there is None or not _is_like(there, index, inspector.dialect.name):
                yield ("table", table.name), ("index", str(index.name))


def _is_like(there: Any, index: sqlalchemy.Index, dialect: str) -> bool:  # noqa: ANN401 (reflected)
    condition = there.get("dialect_options", {}).get(f"{dialect}_where")
    wanted = index.dialect_options[dialect].get("where")
    return (
        there["column_names"] == [column.name for column in index.columns]
        and bool(there["unique"]) == bool(index.unique)
        and (condition is None) == (wanted is None)
    )


def _tables(inspector: sqlalchemy.Inspector) -> Iterator[sqlalchemy.Table]:
    """Those that are there."""
    for table in tables.metadata.sorted_tables:
        if inspector.has_table(table.name):
            yield table
