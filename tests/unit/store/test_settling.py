"""Settling: what is looked at when a row is skipped, and how many are told at a time."""

import itertools
from collections.abc import Collection, Mapping

import pytest

from dshpc_server.domain import dependencies
from dshpc_server.domain.dependencies import End, Fates, Link
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.sql import settling
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support import store_waiting as w


def test_only_what_is_below_a_skipped_row_is_looked_at(
    sql_store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: set[tuple[int, int]] = set()
    fates_of = dependencies.fates

    def fates(ended: Mapping[int, End], waiting: Collection[Link]) -> Fates:
        looked_at.update((link.upstream, link.row) for link in waiting)
        return fates_of(ended, waiting)

    chains = [
        [v.row(first, first), *(w.waiting(first + n, w.on_row(first + n - 1)) for n in (1, 2, 3))]
        for first in range(0, 400, 4)
    ]
    v.accept(sql_store, v.batch("b", rows=list(itertools.chain(*chains))))
    v.end(sql_store, 8, Event.EXITED_NONZERO)
    monkeypatch.setattr(dependencies, "fates", fates)
    assert w.settle_jobs(sql_store, 8).skipped == {"b": [9, 10, 11]}
    assert looked_at == {(9, 10), (10, 11)}


@pytest.mark.parametrize("event", [Event.SUCCEEDED, Event.EXITED_NONZERO])
def test_many_who_wait_for_one_are_told_some_at_a_time(
    sql_store: SqlStore, monkeypatch: pytest.MonkeyPatch, event: Event
) -> None:
    monkeypatch.setattr(settling, "SETTLED_DEPENDENCIES", 3)
    rows = [v.row(0, "first"), *(w.waiting(index, w.on_row(0)) for index in range(1, 9))]
    v.accept(sql_store, v.batch("b", rows=rows))
    v.end(sql_store, "first", event)
    told = []
    for has_more in (True, True, False):
        settled = w.settle_jobs(sql_store, "first")
        assert settled.has_more == has_more
        told.append((len(settled.ready), len(settled.skipped.get("b", ()))))
    if event is Event.SUCCEEDED:
        assert told == [(3, 0), (6, 0), (8, 0)]
    else:
        assert told == [(0, 3), (0, 3), (0, 2)]
