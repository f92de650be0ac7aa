"""What stores on one PostgreSQL database tell each other."""

import queue
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy
import structlog

from dshpc_server import clock
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Writer
from dshpc_server.store.records import ChangedRows
from dshpc_server.store.sql import notices
from dshpc_server.store.sql import postgres as postgres_database
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.store.sql.writer import SqlWriter
from support import postgres
from support import store_values as v
from support.postgres import Postgres
from support.postgres_fixtures import (
    mortal_postgres,
    mortal_postgres_server,
    postgres_server,
    postgres_tables,
    postgres_url,
)

__all__ = [
    "mortal_postgres",
    "mortal_postgres_server",
    "postgres_server",
    "postgres_tables",
    "postgres_url",
]

WAIT_SECONDS = 20.0
CLOCK = clock.SystemClock()


class Told:
    """What a follower was told, in order."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[Collection[str] | None] = queue.SimpleQueue()

    def __call__(self, job_ids: Collection[str] | None) -> None:
        self._told.put(job_ids)

    def next(self) -> set[str] | None:
        """Wait for the next; None stands for anything."""
        job_ids = self._told.get(timeout=WAIT_SECONDS)
        return None if job_ids is None else set(job_ids)

    def until(self, job_ids: set[str]) -> set[str]:
        """Wait until all of these were told, and return all that was told on the way."""
        told: set[str] = set()
        while not job_ids <= told:
            told |= self.next() or set()
        return told


@pytest.fixture
def stores(postgres_url: str) -> Iterator[tuple[SqlStore, SqlStore]]:
    with ExitStack() as stack:
        first, second = SqlStore.open(postgres_url), SqlStore.open(postgres_url)
        stack.callback(first.close)
        stack.callback(second.close)
        yield first, second


def test_others_are_told_what_changed_and_nobody_of_what_he_did_himself(
    stores: tuple[SqlStore, SqlStore],
) -> None:
    first, second = stores
    told, own = Told(), Told()
    with second.follow(told), first.follow(own):
        assert told.next() is None, "anything may have changed before"
        assert own.next() is None
        v.accept(first, v.batch("b", "x", "y"))
        assert told.next() == {v.sha("x"), v.sha("y")}
        v.claim_all(first)
        assert told.next() == {v.sha("x"), v.sha("y")}
        v.record(first, v.report("y", Event.STARTED))
        assert told.next() == {v.sha("y")}
        v.cancel(first, "x")
        assert told.next() == {v.sha("x")}, "what is to be stopped is told, too"
        v.accept(second, v.batch("c", "z"))
        assert own.next() == {v.sha("z")}, "and nothing of its own before"


def test_others_are_told_what_was_moved_in_the_queue(stores: tuple[SqlStore, SqlStore]) -> None:
    """They may have been claiming just then, and have stepped over it."""
    first, second = stores
    v.accept(first, v.batch("b", "x", "y", "z"))
    told = Told()
    with second.follow(told):
        assert told.next() is None
        v.accept(first, v.batch("again", "x", "y", at=v.later(1), priority=3))
        assert told.next() == {v.sha("x"), v.sha("y")}
        assert v.set_priority(first, "b", 2)
        assert told.next() == {v.sha("z")}


def test_what_was_told_can_be_read(stores: tuple[SqlStore, SqlStore]) -> None:
    first, second = stores
    told = Told()
    with second.follow(told):
        assert told.next() is None
        for number in range(20):
            v.accept(first, v.batch(str(number), number))
            assert told.next() == {v.sha(number)}
            assert v.newest(second, number).revision == 1


def test_what_was_not_committed_is_not_told(stores: tuple[SqlStore, SqlStore]) -> None:
    def failing(writer: Writer) -> None:
        writer.accept(v.batch("bad", "bad"))
        raise LookupError

    first, second = stores
    told = Told()
    with second.follow(told):
        assert told.next() is None
        first.write([failing])
        first.write([failing, lambda writer: writer.put_file(v.file_record("file"))])
        v.accept(first, v.batch("good", "good"))
        assert told.next() == {v.sha("good")}


def test_hundreds_of_jobs_are_told_and_of_thousands_only_that_there_are_many(
    stores: tuple[SqlStore, SqlStore],
) -> None:
    first, second = stores
    told = Told()
    hundreds = {v.sha(number) for number in range(950)}
    with second.follow(told):
        assert told.next() is None
        v.accept(first, v.batch("hundreds", *range(950)))
        assert told.until(hundreds) == hundreds
        v.accept(first, v.batch("thousands", *range(1000, 1001 + notices.MANY_JOBS)))
        assert told.next() is None


def test_after_a_lost_connection_anything_may_have_changed(
    stores: tuple[SqlStore, SqlStore], postgres_server: Postgres, postgres_tables: str
) -> None:
    first, second = stores
    told = Told()
    with second.follow(told):
        for number in range(3):
            assert told.next() is None
            v.accept(first, v.batch(str(number), number))
            assert told.next() == {v.sha(number)}
            assert _terminate_listener(postgres_server, postgres_tables)


def test_it_comes_back_by_itself_when_the_database_does(mortal_postgres: Postgres) -> None:
    told = Told()
    with ExitStack() as stack:
        store = SqlStore.open(mortal_postgres.url(mortal_postgres.create()))
        stack.callback(store.close)
        logs = stack.enter_context(structlog.testing.capture_logs())
        stack.enter_context(store.follow(told))
        assert told.next() is None
        for stop in (mortal_postgres.stop, mortal_postgres.kill):
            stop()
            mortal_postgres.start()
            assert told.next() is None
            assert postgres.PASSWORD not in str(logs)
        assert postgres.until(lambda: len(logs) > 1)
    assert [log["event"] for log in logs][:2] == ["store.notices.lost", "store.notices.back"]


def test_it_ends_while_it_connects_and_while_it_waits_to_connect_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        words = postgres_database.connection_words(
            sqlalchemy.make_url(f"postgresql://me@127.0.0.1:{port}/x")
        )
        with notices.listening(words, str, Told(), notices.ignore, CLOCK):
            connected, _ = silent.accept()
        connected.close()
    with (
        structlog.testing.capture_logs() as logs,
        notices.listening(words, str, Told(), notices.ignore, CLOCK),
    ):
        assert postgres.until(lambda: bool(logs))
    assert [log["event"] for log in logs] == ["store.notices.lost"]
    assert "store-listener" not in [thread.name for thread in threading.enumerate()]


def test_one_that_fails_at_what_it_is_told_is_told_again(
    stores: tuple[SqlStore, SqlStore],
) -> None:
    told = Told()
    failures = 2

    def failing(job_ids: Collection[str] | None) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise LookupError("not ready")
        told(job_ids)

    with stores[1].follow(failing):
        assert told.next() is None


def test_batches_whose_rows_changed_are_told_apart_from_jobs(
    stores: tuple[SqlStore, SqlStore],
) -> None:
    def change(writer: Writer) -> None:
        assert isinstance(writer, SqlWriter)
        writer.changed_rows.append(ChangedRows(batch_id="b", indexes=[0]))
        writer.accept(v.batch("b", "x"))

    first, second = stores
    told, told_batches = Told(), Told()
    with second.follow(told, told_batches):
        assert told.next() is None
        first.write([change])
        assert told.next() == {v.sha("x")}
        assert told_batches.next() == {"b"}


@pytest.mark.parametrize(
    ("payloads", "expected"),
    [
        ([], []),
        (["other a,b", "other b,c"], [{"a", "b", "c"}]),
        (["me a"], []),
        (["me many", "other a"], [{"a"}]),
        (["other a", "other many"], [None]),
        (["something else"], [{"else"}]),
        (["nonsense"], [None]),
        ([""], [None]),
    ],
)
def test_what_notices_tell(payloads: list[str], expected: list[Collection[str] | None]) -> None:
    assert notices._told(notices._of_others(payloads, "me")) == expected


def test_no_notice_is_too_long_for_the_database() -> None:
    server_id = "f" * 32
    for count in (1, 100, 101, notices.MANY_JOBS, notices.MANY_JOBS + 1):
        job_ids = [v.sha(number) for number in range(count)]
        payloads = notices._payloads(server_id, job_ids)
        assert all(len(payload) < 8000 for payload in payloads)
        expected = None if count > notices.MANY_JOBS else set(job_ids)
        assert notices._told(notices._of_others(payloads, "")) == [expected]


def _terminate_listener(server: Postgres, database: str) -> bool:
    """Cut the connection that listens; answer whether there was one."""
    question = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND query LIKE 'LISTEN%'"
    )
    return server.execute(question) == [(True,)]
