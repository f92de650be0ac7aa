"""Watchers: the newest state of every job comes through, once, and nothing stays behind."""

import asyncio

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc_server.batches.watchers import RowsChanged, Watchers
from dshpc_server.domain.job import JobStatus
from dshpc_server.store.records import Attempt, ChangedRows
from support import batches_values as values
from support import store_values

DEADLINE_SECONDS = 30.0


def change(name: str, revision: int, *, number: int = 1) -> Attempt:
    return values.attempt(name, JobStatus.RUNNING, revision=revision, number=number)


def ids(*names: str) -> list[str]:
    return [store_values.sha(name) for name in names]


def test_of_several_changes_the_last_one_counts() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a")) as watch:
        watchers.publish([change("a", 1)])
        watchers.publish([change("a", 2), change("a", 3)])
        assert watch.take() == [change("a", 3)]
        assert watch.take() == []


def test_changes_are_told_in_the_order_of_their_newest() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a", "b", "c")) as watch:
        watchers.publish([change("a", 1), change("b", 1), change("c", 1), change("a", 2)])
        assert watch.take() == [change("b", 1), change("c", 1), change("a", 2)]


def test_attempts_of_one_job_are_told_apart() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a")) as watch:
        watchers.publish([change("a", 4), change("a", 5, number=2)])
        assert watch.take() == [change("a", 4), change("a", 5, number=2)]


def test_who_watches_other_jobs_is_not_told() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a")) as one, watchers.watch(ids("a", "b")) as both:
        watchers.publish([change("b", 1), change("c", 1)])
        assert one.take() == []
        assert both.take() == [change("b", 1)]


def test_nothing_stays_behind_when_a_watch_ends_in_whatever_way() -> None:
    watchers = Watchers()
    watched = pytest.raises(LookupError), watchers.watch(ids("a", "b")), watchers.watch(ids("b"))
    with watched[0], watched[1], watched[2]:
        assert watchers.watched_jobs == 2
        raise LookupError
    assert watchers.watched_jobs == 0
    watchers.publish([change("a", 1)])
    assert watchers.watched_jobs == 0
    assert not watchers._watches


def test_the_end_of_one_watch_leaves_the_other() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a")) as staying:
        with watchers.watch(ids("a")):
            pass
        watchers.publish([change("a", 1)])
        assert staying.take() == [change("a", 1)]


async def test_a_wait_ends_with_a_change_or_with_its_time() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a")) as watch:
        assert not await watch.wait(0.0)
        assert not await watch.wait(0.001)
        watchers.publish([change("a", 1)])
        assert await watch.wait(None)
        assert await watch.wait(0.0)
        watch.take()
        assert not await watch.wait(0.0)


async def test_a_change_during_a_wait_ends_it() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a")) as watch:
        waiting = asyncio.ensure_future(watch.wait(DEADLINE_SECONDS))
        await asyncio.sleep(0)
        assert not waiting.done()
        watchers.publish([change("a", 1)])
        assert await waiting


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30),
    st.sets(st.sampled_from("abcd")),
)
def test_what_is_taken_is_the_last_value_of_each_watched_job(
    history: list[tuple[str, bool]], watched: set[str]
) -> None:
    """`history`: which job changes, and whether the watcher looks afterwards."""
    watchers = Watchers()
    unread: dict[str, Attempt] = {}
    with watchers.watch(ids(*watched)) as watch:
        for revision, (name, looks) in enumerate(history):
            watchers.publish([change(name, revision)])
            if name in watched:
                unread.pop(name, None)
                unread[name] = change(name, revision)
            if looks:
                assert watch.take() == list(unread.values())
                unread.clear()
        assert watch.take() == list(unread.values())


def test_what_was_read_before_a_change_does_not_hide_it() -> None:
    watchers = Watchers()
    with watchers.watch(ids("a")) as watch:
        watchers.publish([change("a", 3)])
        watchers.publish([change("a", 2), change("a", 1, number=2)])
        assert watch.take() == [change("a", 3), change("a", 1, number=2)]


def test_who_is_watched_is_known() -> None:
    watchers = Watchers()
    assert watchers.watched() == set()
    with watchers.watch(ids("a", "b")), watchers.watch(ids("b")):
        assert watchers.watched() == set(ids("a", "b"))
        assert watchers.watched(ids("b", "c")) == set(ids("b"))
    assert watchers.watched(ids("a", "b")) == set()


def test_who_watches_a_batch_is_told_of_its_rows_until_it_has_asked() -> None:
    watchers = Watchers()
    with watchers.watch_batch("b") as watch, watchers.watch_batch("other") as other:
        watchers.publish_rows(
            [
                ChangedRows(batch_id="b", indexes=[3, 5]),
                ChangedRows(batch_id="b", indexes=[5, 7]),
                ChangedRows(batch_id="nobody's", indexes=[1]),
            ]
        )
        told = watch.take_rows()
        assert (set(told.indexes), told.is_any) == ({3, 5, 7}, False)
        watchers.publish_rows([ChangedRows(batch_id="b", indexes=())])
        assert watch.take_rows() == RowsChanged(indexes=set(), is_any=True)
        assert watch.take_rows() == other.take_rows() == RowsChanged(indexes=set())
        assert watchers.watched_batches == {"b", "other"}
    assert watchers.watched_batches == set()


async def test_rows_that_changed_end_a_wait() -> None:
    watchers = Watchers()
    with watchers.watch_batch("b") as watch:
        assert not await watch.wait(0)
        watchers.publish_rows([ChangedRows(batch_id="b", indexes=[0])])
        assert await watch.wait(DEADLINE_SECONDS)
        assert watch.take() == []
        assert not await watch.wait(0)


def test_who_watches_a_batch_gets_no_results() -> None:
    ended = values.attempt("a", JobStatus.COMPLETED, revision=3, result=b"long" * 1_000)
    watchers = Watchers()
    with watchers.watch_batch("b", ids("a")) as watch, watchers.watch(ids("a")) as whole:
        watchers.publish([ended])
        (light,) = watch.take()
        assert (light.key, light.status, light.result) == (ended.key, ended.status, None)
        assert whole.take() == [ended]


def test_jobs_are_added_to_a_watch_and_leave_with_it() -> None:
    watchers = Watchers()
    with watchers.watch_batch("b", ids("a")) as watch:
        watchers.publish([change("b", 1)])
        assert watch.add(ids("a", "b"))
        assert not watch.add(ids("b"))
        watchers.publish([change("b", 2)])
        assert watch.take() == [change("b", 2)]
        assert watchers.watched_jobs == 2
    assert watchers.watched_jobs == 0
