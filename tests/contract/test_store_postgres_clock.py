"""Whose time counts in PostgreSQL: the database's, whatever the clocks of the servers say."""

import contextlib
from collections.abc import Iterator

import pytest

from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url
from support.store_servers_world import MovableClock

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

# Long ago, and to come.
WRONG_CLOCKS = (v.NOON, v.later(10**10))


@pytest.fixture(params=WRONG_CLOCKS, ids=["slow", "fast"])
def wrong(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """A server whose own clock is wrong by years."""
    with contextlib.closing(SqlStore.open(postgres_url, clock=MovableClock(request.param))) as it:
        yield it


@pytest.fixture
def right(postgres_url: str) -> Iterator[SqlStore]:
    with contextlib.closing(SqlStore.open(postgres_url)) as store:
        yield store


def test_leases_go_by_the_time_of_the_database(wrong: SqlStore, right: SqlStore) -> None:
    wrong.renew()
    for store in (wrong, right):
        assert [each.is_expired for each in store.find_servers()] == [False, False]
    v.accept(wrong, v.batch("b", "job"))
    v.claim_all(wrong)
    assert v.take_over(right) == []
    wrong.leave()
    assert len(v.take_over(right)) == 1


def test_retries_are_due_by_the_time_of_the_database(wrong: SqlStore, right: SqlStore) -> None:
    v.accept(wrong, v.batch("b", "later", "now"))
    v.fail(wrong, "later", retry=3600.0)
    v.fail(wrong, "now", retry=0.0)
    assert [key.job_id for key in v.claim_all(wrong)] == [v.sha("now")]
    v.fail(wrong, "now", number=2, retry=0.0)
    assert [key.job_id for key in v.claim_all(right)] == [v.sha("now")]
