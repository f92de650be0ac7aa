"""Several servers on one PostgreSQL let rows go on at the same time: each goes on, and once."""

import functools
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support import store_waiting as w
from support import together
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

ROUNDS = 10
UPSTREAMS = 12


@pytest.fixture
def stores(postgres_url: str) -> Iterator[list[SqlStore]]:
    """Three stores of one database."""
    with ExitStack() as stack:
        opened = [SqlStore.open(postgres_url) for _ in range(3)]
        for store in opened:
            stack.callback(store.close)
        yield opened


def accept(store: SqlStore, batch_id: str) -> list[str]:
    """A row that waits for many, and each of these has a row of its own that waits for it."""
    names = [f"{batch_id} {n}" for n in range(UPSTREAMS)]
    rows = [v.row(n, name) for n, name in enumerate(names)]
    rows.append(w.waiting(UPSTREAMS, *(w.on_row(n) for n in range(UPSTREAMS))))
    rows += [w.waiting(UPSTREAMS + 1 + n, w.on_row(n)) for n in range(UPSTREAMS)]
    v.accept(store, v.batch(batch_id, rows=rows))
    v.claim_all(store)
    return names


def test_ends_that_are_told_at_once_are_all_counted(stores: list[SqlStore]) -> None:
    for number in range(ROUNDS):
        names = accept(stores[0], f"b{number}")
        v.record(stores[0], *(v.report(name, Event.SUCCEEDED) for name in names))
        together.at_once(
            *(
                functools.partial(w.settle_jobs, store, *names[place::3], names[0])
                for place, store in enumerate(stores)
            )
        )
        ready = w.settle(stores[0], None).ready
        indexes = sorted(each.index for each in ready if each.batch_id == f"b{number}")
        assert indexes == list(range(UPSTREAMS, 2 * UPSTREAMS + 1))
        for store in stores:
            w.release_all(store, w.settle(store, None))


def test_rows_that_are_released_at_once_are_submitted_once(stores: list[SqlStore]) -> None:
    for number in range(ROUNDS):
        names = accept(stores[0], f"b{number}")
        v.record(stores[0], *(v.report(name, Event.SUCCEEDED) for name in names))
        settled = w.settle(stores[0], None)
        released = together.at_once(
            *(functools.partial(w.release_all, store, settled) for store in stores)
        )
        rows = [row for each in released for row in each]
        assert len(rows) == UPSTREAMS + 1
        assert {row.outcome for row in rows} == {Outcome.SUBMITTED}
        assert len(v.claim_all(stores[1])) == UPSTREAMS + 1
    assert not stores[0].has_undecided()


def test_rows_that_are_skipped_at_once_are_skipped_once(stores: list[SqlStore]) -> None:
    for number in range(ROUNDS):
        names = accept(stores[0], f"b{number}")
        v.record(stores[0], *(v.report(name, Event.EXITED_NONZERO) for name in names))
        settled = together.at_once(
            *(functools.partial(w.settle_jobs, store, *names) for store in stores)
        )
        indexes = [index for each in settled for index in each.skipped.get(f"b{number}", ())]
        assert sorted(indexes) == list(range(UPSTREAMS, 2 * UPSTREAMS + 1))
        skipped = v.rows_of(stores[1], f"b{number}", JobStatus.SKIPPED)
        assert len(skipped) == UPSTREAMS + 1
    assert not stores[0].has_undecided()
