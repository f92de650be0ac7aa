"""What PostgreSQL can do to a store: cut it off, stop, be killed, run full.

Promise: the store says so, invents nothing, and goes on by itself.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import structlog

from dshpc_server import errors
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.port import Writer
from dshpc_server.store.sql.store import SqlStore
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


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    with closing(SqlStore.open(postgres_url)) as opened:
        yield opened


@pytest.fixture
def cut(postgres_server: Postgres, postgres_tables: str) -> Callable[[], None]:
    """Cuts every connection to the database, and sees them gone."""

    def cut() -> None:
        assert postgres_server.terminate(postgres_tables)
        assert postgres.until(lambda: not postgres_server.sessions(postgres_tables))

    return cut


def test_a_connection_that_is_lost_between_two_works_takes_all_with_it(
    store: SqlStore, cut: Callable[[], None]
) -> None:
    def cutting(writer: Writer) -> None:
        writer.accept(v.batch("second", "job"))
        cut()

    with pytest.raises(errors.UnavailableError, match="cannot answer now") as raised:
        store.write(
            [
                lambda writer: writer.accept(v.batch("first", "job")),
                cutting,
                lambda writer: writer.accept(v.batch("third", "job")),
            ]
        )
    assert raised.value.retry_after_seconds > 0
    assert "terminating" not in str(raised.value)
    assert [store.has_batch(batch_id) for batch_id in ("first", "second", "third")] == [False] * 3
    assert [row.outcome for row in v.accept(store, v.batch("first", "job"))] == [Outcome.SUBMITTED]


def test_a_connection_that_is_lost_before_the_commit_leaves_nothing(
    store: SqlStore, cut: Callable[[], None]
) -> None:
    def cutting(writer: Writer) -> str:
        writer.accept(v.batch("b", "job"))
        cut()
        return "not durable"

    with pytest.raises(errors.UnavailableError):
        store.write([cutting])
    assert not store.has_batch("b")
    assert len(v.accept(store, v.batch("b", "job"))) == 1


def test_connections_that_were_lost_while_nobody_asked_are_not_noticed(
    store: SqlStore, cut: Callable[[], None]
) -> None:
    v.accept(store, v.batch("b", "job"))
    cut()
    assert store.has_batch("b")
    cut()
    assert len(v.accept(store, v.batch("c", "job"))) == 1


def test_without_its_database_a_store_is_unavailable_and_then_works_again(
    mortal_postgres: Postgres,
) -> None:
    url = mortal_postgres.url(mortal_postgres.create())
    for number, end in enumerate((mortal_postgres.stop, mortal_postgres.kill)):
        with closing(SqlStore.open(url)) as store, structlog.testing.capture_logs() as logs:
            v.accept(store, v.batch(str(number), number))
            end()
            with pytest.raises(errors.UnavailableError):
                store.has_batch("0")
            with pytest.raises(errors.UnavailableError):
                v.accept(store, v.batch("refused", number))
            with pytest.raises(errors.UnavailableError):
                store.renew()
            assert [log["event"] for log in logs] == ["store.unavailable"]
            mortal_postgres.start()
            assert store.has_batch(str(number))
            assert len(logs) == 1, "questions are answered, but nothing was written yet"
            assert v.status(store, number) is JobStatus.PENDING
            assert not store.has_batch("refused")
            store.renew()
            assert [log["event"] for log in logs[1:]] == ["store.answers_again"]
            assert logs[1]["attempts"] == 3
            assert postgres.PASSWORD not in str(logs)


def test_what_was_committed_before_it_was_killed_is_there(mortal_postgres: Postgres) -> None:
    with closing(SqlStore.open(mortal_postgres.url(mortal_postgres.create()))) as store:
        accepted = []
        for number in range(20):
            v.accept(store, v.batch(str(number), number))
            accepted.append(str(number))
        mortal_postgres.kill()
        mortal_postgres.start()
        assert [name for name in accepted if not store.has_batch(name)] == []


def test_one_that_stands_still_in_a_transaction_does_not_hold_the_others_up(
    postgres_url: str, store: SqlStore
) -> None:
    """Its transaction is ended by the database; when it goes on, it is told."""
    v.accept(store, v.batch("before", "job"))
    ended = threading.Event()
    impatient = f"{postgres_url}?options=-cidle_in_transaction_session_timeout%3D100"

    def standing_still(writer: Writer) -> None:
        writer.accept(v.batch("lost", "job"))
        # Waits for the job until the other's transaction has been ended.
        accepting = threading.Thread(target=v.accept, args=(store, v.batch("kept", "job")))
        accepting.start()
        accepting.join(WAIT_SECONDS)
        if not accepting.is_alive():
            ended.set()

    with (
        closing(SqlStore.open(impatient)) as still,
        pytest.raises(errors.UnavailableError),
    ):
        still.write([standing_still])
    assert ended.is_set()
    assert store.has_batch("kept")
    assert not store.has_batch("lost")


def test_by_default_it_may_stand_still_for_ten_seconds_and_what_is_committed_is_durable(
    store: SqlStore,
) -> None:
    with store._writers.connect() as connection:

        def setting(name: str) -> str:
            return str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())

        assert setting("idle_in_transaction_session_timeout") == "10s"
        assert setting("synchronous_commit") == "on"
        assert setting("application_name") == "dshpc"
        assert setting("transaction_isolation") == "read committed"
    with store._engine.connect() as connection:
        assert setting("transaction_isolation") == "repeatable read"
        assert setting("transaction_read_only") == "on"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("53100", errors.NoRoomError),
        ("58030", errors.NoRoomError),
        ("53200", errors.UnavailableError),
        ("57014", errors.UnavailableError),
        ("25006", errors.UnavailableError),
        ("XX000", errors.UnavailableError),
    ],
)
def test_what_the_database_cannot_do_just_now_ends_the_transaction_for_all(
    store: SqlStore, code: str, error: type[Exception]
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'made up'; END $$"

    def failing(writer: Writer) -> None:
        writer._connection.exec_driver_sql(raising)  # type: ignore[attr-defined] # the SQL writer's

    with pytest.raises(errors.UnavailableError) as raised:
        store.write([lambda writer: writer.accept(v.batch("b", "job")), failing])
    assert type(raised.value) is error
    assert "made up" not in str(raised.value)
    assert not store.has_batch("b")
    assert len(v.accept(store, v.batch("b", "job"))) == 1


def test_a_lost_connection_leaves_no_thread_and_no_session(
    store: SqlStore, postgres_server: Postgres, postgres_tables: str, cut: Callable[[], None]
) -> None:
    threads = threading.active_count()
    for number in range(3):
        with pytest.raises(errors.UnavailableError):
            store.write([lambda _: cut()])
        assert len(v.accept(store, v.batch(str(number), "job"))) == 1
    assert threading.active_count() == threads
    assert postgres.until(lambda: len(postgres_server.sessions(postgres_tables)) == 1)
