"""How a store in PostgreSQL is opened: what is made, what is refused, and what it tells."""

import concurrent.futures
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import alembic.autogenerate
import pytest
import sqlalchemy
from alembic.runtime import migration

from dshpc_server import errors
from dshpc_server.store import port
from dshpc_server.store.sql import database, migrate, tables
from dshpc_server.store.sql.store import SqlStore
from support import postgres
from support import store_values as v
from support.postgres import Postgres
from support.postgres_fixtures import (
    empty_postgres,
    postgres_server,
    postgres_tables,
    postgres_url,
)

__all__ = ["empty_postgres", "postgres_server", "postgres_tables", "postgres_url"]

# What a table is made of, told by the database.
_RULES = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
"""
_INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = '{schema}'"


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    with closing(SqlStore.open(postgres_url)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("database_name", "reason"),
    [("absent", "does not exist"), ("postgres", "password authentication failed")],
)
def test_what_cannot_be_opened_is_told_without_a_password(
    postgres_server: Postgres, database_name: str, reason: str
) -> None:
    url = f"postgresql://{postgres.USER}:%s@127.0.0.1:{postgres_server.port}/{database_name}"
    password = postgres.PASSWORD if database_name == "absent" else "s3cret"
    for address in (url % password.replace(" ", "+"), f"{url % ''}?password={password}"):
        with pytest.raises(port.StoreUnusableError, match=reason) as refused:
            SqlStore.open(address.replace("+", "%20"))
        assert password not in str(refused.value)
        assert "127.0.0.1" in refused.value.store


def test_where_nobody_listens_no_store_is_opened(postgres_server: Postgres) -> None:
    url = postgres_server.url().replace(str(postgres_server.port), "1")
    with pytest.raises(port.StoreUnusableError, match="refused"):
        SqlStore.open(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://s3cret@host",
        "postgresql+psycopg2://me:s3cret@host/x",
        "postgresql://me:s3cret@host:port/x",
        "postgres://me:s3cret@host/x",
    ],
)
def test_a_url_that_names_no_store_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="store") as refused:
        SqlStore.open(url)
    assert "s3cret" not in str(refused.value)


def test_where_the_driver_is_absent_it_is_told_what_to_install(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(port.StoreUnusableError, match=r"dshpc\[server,postgres\]"):
        SqlStore.open(postgres_url)


def test_the_driver_is_not_needed_for_other_stores(tmp_path: pathlib.Path) -> None:
    program = (
        "import pathlib, sys\n"
        "sys.modules['psycopg'] = None\n"
        "from dshpc_server.store.sql.store import SqlStore\n"
        "SqlStore.open(pathlib.Path(sys.argv[1])).close()\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "store.db"], check=True)


def test_a_migrated_database_has_the_tables_of_the_code(store: SqlStore) -> None:
    with store._engine.connect() as connection:
        context = migration.MigrationContext.configure(
            connection, opts={"version_table": migrate.VERSION_TABLE, "compare_type": True}
        )
        assert alembic.autogenerate.compare_metadata(context, tables.metadata) == []


def test_checks_keys_and_conditions_are_those_of_the_code(
    postgres_server: Postgres, empty_postgres: str
) -> None:
    url = postgres_server.url(empty_postgres)
    SqlStore.open(url).close()
    postgres_server.execute("CREATE SCHEMA code", database=empty_postgres)
    in_code = f"{url}?options=-csearch_path%3Dcode"
    opened = database.connect(database.parse(in_code), read_only=False)
    with closing(opened), opened.writers.begin() as connection:
        tables.metadata.create_all(connection)
    expected, found = (
        _definitions(each, name) for each, name in ((in_code, "code"), (url, "public"))
    )
    assert len(expected) > 30
    assert found == expected


def test_several_that_open_an_empty_database_at_once_make_one_store(
    postgres_server: Postgres, empty_postgres: str
) -> None:
    url = postgres_server.url(empty_postgres)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(SqlStore.open, [url] * 4))
    v.accept(opened[0], v.batch("b", "job"))
    assert [store.has_batch("b") for store in opened] == [True] * 4
    assert len({store.server_id for store in opened}) == 4
    for store in opened:
        store.close()


def test_somebody_elses_database_is_refused_and_left_as_it_was(
    postgres_server: Postgres, empty_postgres: str
) -> None:
    postgres_server.execute("CREATE TABLE jobs (a int)", database=empty_postgres)
    with pytest.raises(port.StoreUnusableError, match="something else"):
        SqlStore.open(postgres_server.url(empty_postgres))
    assert _tables(postgres_server, empty_postgres) == [("public", "jobs")]


def test_a_store_keeps_to_its_schema(postgres_server: Postgres, empty_postgres: str) -> None:
    in_public = postgres_server.url(empty_postgres)
    in_own = f"{in_public}?options=-csearch_path%3Down,public"
    postgres_server.execute("CREATE SCHEMA own", database=empty_postgres)
    with closing(SqlStore.open(in_public)) as store:
        v.accept(store, v.batch("in public", "job"))
    for batch_id in ("first", "second"):
        with closing(SqlStore.open(in_own)) as store:
            v.accept(store, v.batch(batch_id, batch_id))
            assert store.has_batch("first")
            assert not store.has_batch("in public")
            assert store.find_attempts([v.sha("job")]) == {}


def test_where_there_is_no_schema_no_store_is_opened(
    postgres_server: Postgres, empty_postgres: str
) -> None:
    url = f"{postgres_server.url(empty_postgres)}?options=-csearch_path%3Dabsent"
    with pytest.raises(port.StoreUnusableError, match="no schema"):
        SqlStore.open(url)


def test_a_newer_versions_store_is_refused(postgres_server: Postgres, empty_postgres: str) -> None:
    url = postgres_server.url(empty_postgres)
    SqlStore.open(url).close()
    postgres_server.execute(
        f"UPDATE {migrate.VERSION_TABLE} SET version_num = '9999'", database=empty_postgres
    )
    with pytest.raises(port.StoreUnusableError, match="9999"):
        SqlStore.open(url)


def test_a_migration_that_fails_leaves_an_empty_database(
    postgres_server: Postgres, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlalchemy.Connection) -> None:
        real(connection)
        raise LookupError("after the last step")

    url = postgres_server.url(empty_postgres)
    real = migrate.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "upgrade", fail)
        with pytest.raises(LookupError):
            SqlStore.open(url)
    assert _tables(postgres_server, empty_postgres) == []
    assert postgres.until(lambda: not postgres_server.sessions(empty_postgres))
    SqlStore.open(url).close()


def test_a_database_that_cannot_hold_every_text_is_refused(
    postgres_server: Postgres,
) -> None:
    postgres_server.execute(
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
    )
    with pytest.raises(port.StoreUnusableError, match="SQL_ASCII"):
        SqlStore.open(postgres_server.url("ascii"))
    postgres_server.drop("ascii")


def test_a_store_in_use_can_be_looked_at_and_not_changed(
    store: SqlStore, postgres_url: str
) -> None:
    v.accept(store, v.batch("b", "job"))
    with closing(SqlStore.open(postgres_url, read_only=True)) as looking:
        assert looking.has_batch("b")
        with pytest.raises(errors.UnavailableError):
            v.accept(looking, v.batch("c", "job"))
    assert not store.has_batch("c")


def test_looking_makes_no_store(postgres_server: Postgres, empty_postgres: str) -> None:
    with pytest.raises(port.StoreUnusableError, match="tables"):
        SqlStore.open(postgres_server.url(empty_postgres), read_only=True)
    assert _tables(postgres_server, empty_postgres) == []


def test_a_closed_store_has_no_connection(
    store: SqlStore, postgres_server: Postgres, postgres_tables: str
) -> None:
    store.find_files(after=None, limit=1)
    assert postgres_server.sessions(postgres_tables)
    store.close()
    store.close()
    assert postgres.until(lambda: not postgres_server.sessions(postgres_tables))


def _tables(server: Postgres, name: str) -> list[tuple[str, str]]:
    question = (
        "SELECT schemaname, tablename FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    )
    return [(schema, table) for schema, table in server.execute(question, database=name)]


def _definitions(url: str, schema: str) -> set[tuple[str, ...]]:
    """Every rule and index of our tables there, without the schema's name."""
    opened = database.connect(database.parse(url), read_only=True)
    with closing(opened), opened.readers.connect() as connection:
        found = [
            *connection.exec_driver_sql(_RULES),
            *connection.exec_driver_sql(_INDEXES.format(schema=schema)),
        ]
    return {
        tuple(word.replace(f"{schema}.", "") for word in each)
        for each in found
        if migrate.VERSION_TABLE not in each[0]
    }
