"""Settling: what is looked at when a row is skipped."""

import itertools
from collections.abc import Collection, Mapping

import pytest

from dshpc_server.domain import dependencies
from dshpc_server.domain.dependencies import End, Fates, Link
from dshpc_server.domain.lifecycle import Event
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
