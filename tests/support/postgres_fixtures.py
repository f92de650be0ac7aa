"""Fixtures of tests that need PostgreSQL: one server for all of them, an empty store for each.

A module or a conftest.py imports the fixtures it uses, and those that they use.
"""

import contextlib
from collections.abc import Iterator

import pytest

from dshpc_server.store.sql import tables
from dshpc_server.store.sql.store import SqlStore
from support import postgres, shared
from support.postgres import Postgres

_SERVER = pytest.StashKey[Postgres]()
_TABLES = pytest.StashKey[str]()
_MORTAL_SERVER = pytest.StashKey[Postgres]()


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Postgres:
    """A server that no test stops; what it holds need not outlive the tests."""
    return shared.entered(pytestconfig, _SERVER, postgres.running)


@pytest.fixture(scope="session")
def postgres_tables(pytestconfig: pytest.Config, postgres_server: Postgres) -> str:
    """A database with the tables of a store, for one test after the other; its name."""

    @contextlib.contextmanager
    def made() -> Iterator[str]:
        name = postgres_server.create()
        SqlStore.open(postgres_server.url(name)).close()
        yield name  # which goes with its server

    return shared.entered(pytestconfig, _TABLES, made)


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_tables: str) -> str:
    """An empty store of this test alone, as long as it lasts."""
    # Emptying is a tenth of making a new one. Who is still connected, after a test that failed,
    # would hold it up.
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    names = [table.name for table in reversed(tables.metadata.sorted_tables)]
    statements = "; ".join(f"DELETE FROM {name}" for name in names)
    postgres_server.execute(f"{cut} WHERE {others}; {statements}", database=postgres_tables)
    return postgres_server.url(postgres_tables)


@pytest.fixture
def empty_postgres(postgres_server: Postgres) -> Iterator[str]:
    """A database of this test alone with nothing in it; its name."""
    name = postgres_server.create()
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def mortal_postgres_server(pytestconfig: pytest.Config) -> Postgres:
    """The server of `mortal_postgres`."""
    return shared.entered(pytestconfig, _MORTAL_SERVER, lambda: postgres.running(is_durable=True))


@pytest.fixture
def mortal_postgres(mortal_postgres_server: Postgres) -> Postgres:
    """Another server, to be stopped, killed and started again at will; what is committed stays.

    Each test makes itself a database in it.
    """
    if not mortal_postgres_server.is_running:
        mortal_postgres_server.start()
    return mortal_postgres_server
