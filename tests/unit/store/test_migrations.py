"""The migrations make the tables that the code speaks of, and nothing else."""

import logging
import pathlib
import re
import sqlite3
from contextlib import closing

import alembic.autogenerate
import alembic.config
import alembic.script
import pytest
import sqlalchemy
from alembic.runtime import migration

from dshpc_server.store.sql import migrate, tables
from dshpc_server.store.sql.store import SqlStore


def schema(connection: sqlalchemy.Connection) -> dict[str, list[str]]:
    """What every table and index of ours is made of, by name; in what order is all the same."""
    found = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> ?",
        (migrate.VERSION_TABLE,),
    )
    return {name: _parts(name, sql) for name, sql in found}


def _parts(name: str, sql: str) -> list[str]:
    """Return the lines of a definition in the form that is written in the code.

    A column that was added to a table stands on the line of the one before it.
    """
    written = sql.replace(f'"{name}"', name).replace("DEFAULT ('')", "DEFAULT ''")
    written = re.sub(r", (\w+ [A-Z]+, )$", r",\n\1", written, flags=re.MULTILINE)
    return sorted(line.strip().removesuffix(",") for line in written.splitlines())


def test_a_migrated_database_has_the_tables_of_the_code(sql_store: SqlStore) -> None:
    with sql_store._engine.connect() as connection:
        context = migration.MigrationContext.configure(
            connection, opts={"version_table": migrate.VERSION_TABLE, "compare_type": True}
        )
        assert alembic.autogenerate.compare_metadata(context, tables.metadata) == []


def test_checks_keys_and_conditions_are_those_of_the_code(sql_store: SqlStore) -> None:
    made = sqlalchemy.create_engine("sqlite://")
    with made.connect() as from_code, sql_store._engine.connect() as migrated:
        tables.metadata.create_all(from_code)
        expected = schema(from_code)
        assert len(expected) == len(tables.metadata.tables) + 17
        assert schema(migrated) == expected
    made.dispose()


def test_the_version_that_the_code_expects_is_the_newest_script() -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", migrate._SCRIPTS)
    assert alembic.script.ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_a_migration_that_fails_leaves_an_empty_database(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlalchemy.Connection) -> None:
        real(connection)
        raise LookupError("after the last step")

    real = migrate.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "upgrade", fail)
        with pytest.raises(LookupError):
            SqlStore.open(tmp_path / "store.db")
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    SqlStore.open(tmp_path / "store.db").close()


def test_opening_a_store_leaves_logging_as_it_is(tmp_path: pathlib.Path) -> None:
    def settings() -> list[object]:
        names = ("", "alembic", "sqlalchemy", "dshpc_server")
        loggers = [logging.getLogger(name) for name in names]
        return [(each.level, list(each.handlers), each.disabled) for each in loggers]

    before = settings()
    SqlStore.open(tmp_path / "store.db").close()
    assert settings() == before
