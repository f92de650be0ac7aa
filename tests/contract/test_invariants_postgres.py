"""The rules of a store in PostgreSQL: what breaks them is seen there, too, and repairs are made.

Its tables let wrong states through only once their checks and references are gone, as after a
restore that went wrong.
"""

import pathlib
from collections.abc import Iterator

import pytest
import sqlalchemy

from dshpc_server import clock, config, maintenance
from dshpc_server.store.sql import columns, invariants_rules, tables
from dshpc_server.store.sql.store import SqlStore
from support import checked_breaches, checked_site, postgres
from support import store_values as v
from support.checked_site import MAX_RETRIES, SCOPE, Site
from support.postgres import Postgres
from support.postgres_fixtures import postgres_server

__all__ = ["postgres_server"]

_UNGUARDED = """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %s CASCADE', conrelid::regclass, conname)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f')
"""
_OF_SQL = [each for each in checked_breaches.BREAKING if each[0] in invariants_rules.SQL_RULES]


@pytest.fixture(scope="module")
def template(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[pathlib.Path, str]]:
    """Data in which all is right, and the database that its store is in."""
    name, folder = postgres_server.create(), tmp_path_factory.mktemp("checked")
    (folder / "data").mkdir()
    made = Site(folder / "data", postgres_server.url(name))
    # Of retries the database tells when they were made.
    made.clock.moment = clock.SystemClock().now()
    checked_site.fill(made, folder)
    yield folder / "data", name
    postgres_server.drop(name)


@pytest.fixture
def made(postgres_server: Postgres, template: tuple[pathlib.Path, str]) -> Iterator[Site]:
    """Data in which all is right, with a store of this test alone."""
    folder, name = template
    postgres_server.terminate(name)
    copied = postgres_server.create(template=name)
    site = Site(folder, postgres_server.url(copied))
    site.clock.moment = clock.SystemClock().now()
    yield site
    postgres_server.drop(copied)


@pytest.fixture(scope="module")
def unguarded(
    postgres_server: Postgres, template: tuple[pathlib.Path, str]
) -> Iterator[sqlalchemy.Engine]:
    """The same store, which lets everything through."""
    _, name = template
    postgres_server.terminate(name)
    copied = postgres_server.create(template=name)
    for (statement,) in postgres_server.execute(_UNGUARDED, database=copied):
        postgres_server.execute(statement, database=copied)
    url = sqlalchemy.make_url(postgres_server.url(copied))
    engine = sqlalchemy.create_engine(url.set(drivername="postgresql+psycopg"))
    yield engine
    engine.dispose()
    postgres_server.drop(copied)


def broken(connection: sqlalchemy.Connection) -> set[str]:
    """The rules that do not hold in this transaction; the server that made the data lives."""
    values = {"max_retries": MAX_RETRIES, "now": columns.moment(v.NOON), "dead": []}
    return {
        name
        for name, each in invariants_rules.SQL_RULES.items()
        if connection.execute(each.statement, values).first() is not None
    }


@pytest.mark.parametrize(
    ("rule", "statements", "besides"),
    _OF_SQL,
    ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(_OF_SQL)],
)
def test_what_breaks_a_rule_is_seen(
    unguarded: sqlalchemy.Engine,
    template: tuple[pathlib.Path, str],
    rule: str,
    statements: str,
    besides: set[str],
) -> None:
    ids = Site(template[0]).job_ids()
    with unguarded.connect() as connection:
        for statement in statements.split(";"):
            connection.execute(sqlalchemy.text(statement), ids)
        expected = {rule} | besides
        assert broken(connection) == expected & invariants_rules.SQL_RULES.keys()
        connection.rollback()
        assert broken(connection) == set()


def test_nothing_is_wrong_where_all_is_right(made: Site) -> None:
    assert checked_site.lines(made.found()) in ("", _waiting(made))


def test_every_index_and_every_constraint_is_missed(made: Site, postgres_server: Postgres) -> None:
    database = str(made.store).rpartition("/")[2]
    indexes = {
        str(index.name) for table in tables.metadata.sorted_tables for index in table.indexes
    }
    for name in indexes:
        postgres_server.execute(f"DROP INDEX {name}", database=database)
    for (statement,) in postgres_server.execute(_UNGUARDED, database=database):
        postgres_server.execute(statement, database=database)
    found = made.found()
    assert {
        str(each.which[1][1]) for each in found if each.rule.name == "index_is_there"
    } == indexes
    held = [each for each in found if each.rule.name == "constraint_is_there"]
    assert len(held) == sum(
        not isinstance(constraint, sqlalchemy.PrimaryKeyConstraint)
        for table in tables.metadata.sorted_tables
        for constraint in table.constraints
    )
    assert not repair(made), "constraints are not made again"
    assert "index_is_there" not in made.broken()


def test_a_repair_is_refused_while_a_server_lives(made: Site) -> None:
    server = SqlStore.open(str(made.store), scope="local/elsewhere")
    try:
        with pytest.raises(maintenance.LivingServersError) as refused:
            repair(made)
        assert "in use by 1 other server(s) (local/elsewhere); stop them" in str(refused.value)
        assert postgres.PASSWORD not in str(refused.value)
        server.leave()
        assert repair(made)
    finally:
        server.close()


def test_what_ran_on_a_node_that_is_gone_is_lost_and_what_runs_elsewhere_is_not(
    made: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repair(made, "elsewhere")
    assert "no server of local/elsewhere has left anything" in capsys.readouterr().out
    node = SCOPE.removeprefix("local/")
    assert repair(made, node, retry_first_seconds=0)
    job_id = made.job_id("running")
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [
        f"{SCOPE} is gone: job {job_id} attempt 1 is NODE_FAIL",
        f"{SCOPE} is gone: job {job_id} attempt 2 is PENDING",
    ]
    assert made.broken() == set()


def repair(made: Site, *gone_nodes: str, **flags: object) -> bool:
    """Repair it; whether nothing is wrong any more."""
    end_lease(made)
    given = {"data_dir": made.data_dir, "store": made.store, **flags}
    return maintenance.run_repair(config.load(None, given), "text", gone_nodes)


def end_lease(made: Site) -> None:
    """Let the server that made the data be dead, as it is after a while."""
    store = SqlStore.open(str(made.store))
    with store._writers.begin() as connection:
        scope = tables.servers.c.scope == SCOPE
        connection.execute(
            sqlalchemy.update(tables.servers).where(scope).values(lease_expires_at=1)
        )
    store.leave()
    store.close()


def _waiting(made: Site) -> str:
    """What is told once the lease of the server that made the data has expired."""
    which = f"job {made.job_id('running')} attempt 1"
    return f"note: owner_lives: it waits for a server that can take it over: {which}"
