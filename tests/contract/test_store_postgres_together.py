"""Several stores on one PostgreSQL database: they share jobs, and get out of each other's way."""

import functools
import random
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest
import structlog

from dshpc_server import errors
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import RequestAcceptedError, Writer
from dshpc_server.store.records import RequestName, Row, Withdrawn
from dshpc_server.store.sql import transactions
from dshpc_server.store.sql.store import SqlStore
from support import postgres, together
from support import store_values as v
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

T = TypeVar("T")

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

ROUNDS = 4
WAIT_SECONDS = 20.0


@pytest.fixture
def stores(postgres_url: str) -> Iterator[list[SqlStore]]:
    """Three stores of one database."""
    with ExitStack() as stack:
        opened = [SqlStore.open(postgres_url) for _ in range(3)]
        for store in opened:
            stack.callback(store.close)
        yield opened


def test_two_that_accept_the_same_new_jobs_at_once_make_one_attempt_of_each(
    stores: list[SqlStore],
) -> None:
    shuffled = random.Random(4)
    for round_number in range(ROUNDS):
        names = [f"{round_number} {number}" for number in range(1000)]

        def accepting(store: SqlStore, who: int, names: list[str]) -> Callable[[], list[Row]]:
            batch = v.batch(f"{who} {names[0]}", *names)
            return lambda: v.accept(store, batch)

        rows = together.at_once(
            *(
                accepting(store, who, shuffled.sample(names, len(names)))
                for who, store in enumerate(stores[:2])
            )
        )
        outcomes = [row.outcome for each in rows for row in each]
        assert outcomes.count(Outcome.SUBMITTED) == 1000
        assert outcomes.count(Outcome.FOUND_IN_PROGRESS) == 1000
        keys = [{row.attempt.key for row in each if row.attempt is not None} for each in rows]
        assert keys[0] == keys[1] == {AttemptKey(job_id=v.sha(n), number=1) for n in names}


def test_of_two_that_accept_one_named_request_at_once_the_second_is_told_the_firsts_batch(
    stores: list[SqlStore],
) -> None:
    for round_number in range(ROUNDS):
        name = v.request_name(round_number)
        jobs = [f"{round_number} {number}" for number in range(200)]

        def accepting(
            store: SqlStore, who: int, name: RequestName, jobs: list[str]
        ) -> Callable[[], str]:
            batch = v.batch(f"{who} {jobs[0]}", *jobs, request=name)

            def accept() -> str:
                try:
                    v.accept(store, batch)
                except RequestAcceptedError as error:
                    return error.accepted.batch_id
                return batch.batch_id

            return accept

        told = together.at_once(
            *(accepting(store, who, name, jobs) for who, store in enumerate(stores))
        )
        assert len(set(told)) == 1
        batches = [f"{who} {jobs[0]}" for who in range(len(stores))]
        assert [batch for batch in batches if stores[0].has_batch(batch)] == [told[0]]


def test_a_job_that_failed_is_submitted_again_once_however_many_ask(
    stores: list[SqlStore],
) -> None:
    v.accept(stores[0], v.batch("first", "job"))
    v.end(stores[0], "job", Event.LOST)

    def asking(store: SqlStore, who: int) -> Callable[[], list[Outcome]]:
        works = [_accepting(f"{who} {number}", "job") for number in range(5)]
        return lambda: [row.outcome for rows in _answers(store, works) for row in rows]

    told = together.at_once(*(asking(store, who) for who, store in enumerate(stores)))
    outcomes = [outcome for each in told for outcome in each]
    assert sorted(outcomes) == [Outcome.FOUND_IN_PROGRESS] * 14 + [Outcome.RESUBMITTED]
    assert v.newest(stores[0], "job").key.number == 2


def test_of_all_who_withdraw_from_one_run_at_once_the_last_stops_it(
    stores: list[SqlStore],
) -> None:
    for round_number in range(ROUNDS):
        names = [f"{round_number} {number}" for number in range(100)]
        batches = [f"{who} {round_number}" for who in range(len(stores))]
        for batch_id in batches:
            v.accept(stores[0], v.batch(batch_id, *names))

        def withdrawing(store: SqlStore, batch_id: str) -> Callable[[], Withdrawn | None]:
            return lambda: v.withdraw(store, batch_id)

        told = together.at_once(*map(withdrawing, stores, batches))
        counts = [(each.cancel_requested, each.detached) for each in told if each is not None]
        assert sorted(counts) == [(0, 100), (0, 100), (100, 0)]
        assert {v.status(stores[0], name) for name in names} == {JobStatus.CANCELLED}


def test_who_joins_a_run_as_it_is_withdrawn_keeps_it_or_has_it_run_again(
    stores: list[SqlStore],
) -> None:
    for round_number in range(4 * ROUNDS):
        first, second = f"first {round_number}", f"second {round_number}"
        v.accept(stores[0], v.batch(first, "job"))

        def withdrawing(batch_id: str) -> JobStatus:
            v.withdraw(stores[0], batch_id)
            return JobStatus.CANCELLED

        def joining(batch_id: str) -> JobStatus | None:
            (row,) = v.accept(stores[1], v.batch(batch_id, "job"))
            return row.status

        statuses = together.at_once(
            functools.partial(withdrawing, first), functools.partial(joining, second)
        )
        shown = [v.rows_of(stores[0], batch_id)[0].status for batch_id in (first, second)]
        assert shown == statuses == [JobStatus.CANCELLED, JobStatus.PENDING]
        v.withdraw(stores[0], second)


def test_what_one_claims_no_other_claims(stores: list[SqlStore]) -> None:
    v.accept(stores[0], v.batch("b", *range(600)))

    def claiming(store: SqlStore) -> Callable[[], list[AttemptKey]]:
        def claim() -> list[AttemptKey]:
            taken = []
            while claims := v.write(store, lambda w: w.claim(v.take, 7)).taken:
                taken += [claim.key for claim in claims]
            return taken

        return claim

    taken = together.at_once(*(claiming(store) for store in stores))
    assert sorted(key.job_id for each in taken for key in each) == sorted(map(v.sha, range(600)))
    for store, keys in zip(stores, taken, strict=True):
        assert {attempt.claim.key for attempt in store.find_active()} == set(keys)


def test_what_is_moved_while_others_claim_is_claimed_once_and_nothing_is_left(
    stores: list[SqlStore],
) -> None:
    v.accept(stores[0], v.batch("moved", *range(400)))
    v.accept(stores[0], v.batch("other", *range(400, 500), at=v.later(1)))
    is_moved = threading.Event()

    def move() -> list[AttemptKey]:
        for number in range(20):
            assert v.set_priority(stores[0], "moved", number % 3 - 1)
            v.accept(stores[0], v.batch(f"b{number}", *range(390, 500), priority=number % 2))
        is_moved.set()
        return []

    def claiming(store: SqlStore) -> Callable[[], list[AttemptKey]]:
        def claim() -> list[AttemptKey]:
            taken: list[AttemptKey] = []
            while True:
                was_moved = is_moved.is_set()
                claims = v.write(store, lambda w: w.claim(v.take, 5)).taken
                taken += [claim.key for claim in claims]
                if was_moved and not claims:
                    return taken

        return claim

    _, *taken = together.at_once(move, *(claiming(store) for store in stores[1:]))
    assert sorted(key.job_id for each in taken for key in each) == sorted(map(v.sha, range(500)))


def test_who_leaves_waits_for_a_claim_that_is_under_way(stores: list[SqlStore]) -> None:
    """As one may be whose connection was lost in the commit: it is not to be nobody's."""
    leaving, other, looking_on = stores
    v.accept(leaving, v.batch("b", "job"))
    claimed, waiting = threading.Event(), threading.Event()

    def claiming(writer: Writer) -> None:
        writer.claim(v.take, 1)
        claimed.set()
        assert waiting.wait(WAIT_SECONDS)

    def leave() -> None:
        assert claimed.wait(WAIT_SECONDS)
        looking = threading.Thread(target=_set_when_waiting, args=(looking_on, waiting))
        looking.start()
        leaving.leave()
        looking.join()

    together.at_once(lambda: v.write(leaving, claiming), leave)
    records = {each.server_id: each.is_expired for each in other.find_servers()}
    assert records[leaving.server_id], (
        "its record says whose the attempt is, until it is taken over"
    )
    assert [each.claim.key.job_id for each in v.take_over(other)] == [v.sha("job")]


def test_what_one_records_the_other_sees_when_it_accepts(stores: list[SqlStore]) -> None:
    """While one writes that a job has ended, the other waits for that job and then finds it so."""
    v.accept(stores[0], v.batch("first", "job"))
    v.claim_all(stores[0])
    recorded, waiting = threading.Event(), threading.Event()

    def recording(writer: Writer) -> None:
        writer.record([v.report("job", Event.SUCCEEDED)])
        recorded.set()
        assert waiting.wait(WAIT_SECONDS)

    def accepting() -> list[Row]:
        assert recorded.wait(WAIT_SECONDS)
        looking = threading.Thread(target=_set_when_waiting, args=(stores[2], waiting))
        looking.start()
        rows = v.accept(stores[1], v.batch("second", "job"))
        looking.join()
        return rows

    _, rows = together.at_once(lambda: v.write(stores[0], recording), accepting)
    assert [row.outcome for row in rows or []] == [Outcome.FOUND_COMPLETED]


def test_two_that_wait_for_each_other_both_commit(stores: list[SqlStore]) -> None:
    v.accept(stores[0], v.batch("both", "x", "y"))
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def crossing(store: SqlStore, first: str, second: str) -> Callable[[], list[Outcome]]:
        def meeting(writer: Writer) -> list[Row]:
            rows = writer.accept(v.batch(f"{first} first", first))
            tries.append(first)
            if tries.count(first) == 1:
                both_hold_one.wait(WAIT_SECONDS)
            return list(rows)

        works = [meeting, _accepting(f"{second} second", second)]
        return lambda: [row.outcome for rows in _answers(store, works) for row in rows]

    outcomes = together.at_once(crossing(stores[0], "x", "y"), crossing(stores[1], "y", "x"))
    assert outcomes == [[Outcome.FOUND_IN_PROGRESS] * 2] * 2
    assert len(tries) > 2, "one of them was ended and made again"


def test_what_cannot_be_made_together_is_made_one_by_one(
    stores: list[SqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    conflicts = 2
    runs: list[str] = []

    def unlucky(writer: Writer) -> str:
        nonlocal conflicts
        runs.append("unlucky")
        writer.put_file(v.file_record("of the unlucky"))
        if conflicts:
            conflicts -= 1
            _fail_with(writer, "40P01")
        return "made"

    def other(writer: Writer) -> str:
        runs.append("other")
        writer.accept(v.batch("other", "job"))
        raise LookupError

    with structlog.testing.capture_logs() as logs:
        commit = stores[0].write([_named("first"), unlucky, other])
    assert [str(answer) for answer in commit.answers] == ["first", "made", ""]
    assert runs == ["unlucky", "unlucky", "unlucky", "other"]
    assert [change.key.job_id for change in commit.changes] == [v.sha("first")]
    assert [log["event"] for log in logs] == ["store.conflict"] * 2
    assert stores[1].find_file(v.sha("of the unlucky")) is not None
    assert not stores[1].has_batch("other")
    monkeypatch.setattr(transactions, "TRIES_ALONE", 1)
    conflicts = 3
    first, refused = stores[0].write([_named("second"), unlucky]).answers
    assert first == "second"
    assert isinstance(refused, errors.UnavailableError)


def test_a_work_whose_transaction_must_be_made_again_leaves_nothing_of_the_first_time(
    stores: list[SqlStore],
) -> None:
    runs = 0

    def work(writer: Writer) -> list[Row]:
        nonlocal runs
        runs += 1
        rows = writer.accept(v.batch("b", "job", f"job {runs}"))
        if runs == 1:
            _fail_with(writer, "40001")
        return list(rows)

    commit = stores[0].write([work])
    assert [change.key.job_id for change in commit.changes] == [v.sha("job"), v.sha("job 2")]
    assert stores[0].find_job(v.sha("job 1")) is None


def _accepting(batch_id: str, *names: str) -> Callable[[Writer], Collection[Row]]:
    return lambda writer: writer.accept(v.batch(batch_id, *names))


def _answers(
    store: SqlStore, works: list[Callable[[Writer], Collection[Row]]]
) -> list[Collection[Row]]:
    answers = store.write(works).answers
    assert not any(isinstance(answer, Exception) for answer in answers), answers
    return [answer for answer in answers if not isinstance(answer, Exception)]


def _named(name: str) -> Callable[[Writer], str]:
    def work(writer: Writer) -> str:
        writer.accept(v.batch(name, name))
        return name

    return work


def _fail_with(writer: Writer, code: str) -> None:
    """Have the database fail with this code, as it does when others are in the way."""
    raising = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'made up'; END $$"
    writer._connection.exec_driver_sql(raising)  # type: ignore[attr-defined] # the SQL writer's


def _set_when_waiting(store: SqlStore, waiting: threading.Event) -> None:
    """Tell when some transaction waits for the lock of another."""
    question = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with store._engine.connect() as connection:
        assert postgres.until(lambda: connection.exec_driver_sql(question).scalar_one() > 0)
    waiting.set()
