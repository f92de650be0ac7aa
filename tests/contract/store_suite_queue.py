"""What every store does with its queue: priorities, turns, ageing, and who is stepped over."""

import dataclasses
import datetime
import itertools
import json
import math
from collections.abc import Callable

from contract.store_suite_opening import OpenServer
from dshpc_server.domain import queue
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.queue import Verdict
from dshpc_server.store.port import Store, Writer
from dshpc_server.store.records import Claim, Claims, Report, Row
from dshpc_server.store.sql.store import SqlStore
from support import store_look
from support import store_values as v

NO_AGEING = queue.Ageing(seconds=math.inf)


class Turns:
    def test_a_batch_of_one_is_next_after_one_of_a_large_batch(self, store: Store) -> None:
        v.accept(store, v.batch("large", *range(2_000)))
        assert claimed(store, 10) == list(range(10))
        v.accept(store, v.batch("small", "small", at=v.later(60)))
        assert claimed(store, 3) == [10, "small", 11]

    def test_batches_of_equal_priority_take_turns(self, store: Store) -> None:
        v.accept(store, v.batch("a", "a0", "a1", "a2"))
        v.accept(store, v.batch("b", "b0", "b1", at=v.later(1)))
        v.accept(store, v.batch("c", "c0", "c1", "c2", at=v.later(2)))
        assert claimed(store) == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "c2"]

    def test_in_one_transaction_they_do_so_as_well(self, store: Store) -> None:
        batches = [v.batch("a", "a0", "a1"), v.batch("b", "b0", "b1", at=v.later(1))]

        def work(writer: Writer) -> list[list[Row]]:
            return [list(writer.accept(each)) for each in batches]

        v.write(store, work)
        assert claimed(store) == ["a0", "b0", "a1", "b1"]

    def test_whoever_comes_while_the_queue_is_empty_begins_anew(self, store: Store) -> None:
        v.accept(store, v.batch("a", *range(5)))
        assert claimed(store) == list(range(5))
        v.accept(store, v.batch("b", "b0", "b1", at=v.later(1)))
        v.accept(store, v.batch("c", "c0", at=v.later(2)))
        assert claimed(store) == ["b0", "c0", "b1"]

    def test_a_retry_keeps_its_turn_and_its_priority(self, store: Store) -> None:
        v.accept(store, v.batch("a", "a0", "a1", "a2", priority=3))
        v.accept(store, v.batch("b", "b0", "b1", at=v.later(1), priority=3))
        assert claimed(store, 1) == ["a0"]
        assert v.record(store, retried("a0"))
        assert claimed(store) == ["a0", "b0", "a1", "b1", "a2"]
        assert priority_of(store, "a0") == 3

    def test_who_comes_while_a_retry_waits_is_behind_it_and_not_before_others(
        self, store: Store
    ) -> None:
        """Its turn is of long ago, and no measure for those who come now."""
        v.accept(store, v.batch("a", *range(20)))
        assert claimed(store, 10) == list(range(10))
        assert v.record(store, retried(0))
        v.accept(store, v.batch("b", "b0", "b1", at=v.later(1)))
        assert claimed(store, 5) == [0, 10, "b0", 11, "b1"]

    def test_a_retry_is_before_those_who_came_when_nobody_waited(self, store: Store) -> None:
        v.accept(store, v.batch("a", *range(50)))
        assert len(claimed(store)) == 50
        v.accept(store, v.batch("b", "b0", "b1", at=v.later(1)))
        assert v.record(store, retried(49))
        assert claimed(store) == [49, "b0", "b1"]

    def test_what_two_batches_wait_for_has_the_earlier_turn(self, store: Store) -> None:
        v.accept(store, v.batch("a", *range(10)))
        rows = v.accept(store, v.batch("b", 9, "b1", at=v.later(1)))
        assert [row.outcome for row in rows] == [Outcome.FOUND_IN_PROGRESS, Outcome.SUBMITTED]
        assert claimed(store, 5) == [0, 9, 1, "b1", 2]

    def test_a_request_that_is_sent_again_moves_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("a", *range(6)))
        v.accept(store, v.batch("again", *range(6), at=v.later(1)))
        v.accept(store, v.batch("b", "b0", at=v.later(2)))
        assert claimed(store) == [0, "b0", *range(1, 6)]


class Priorities:
    def test_a_higher_priority_goes_first(self, store: Store) -> None:
        v.accept(store, v.batch("low", "low", priority=-100))
        v.accept(store, v.batch("usual", "usual", at=v.later(1)))
        v.accept(store, v.batch("high", "high", at=v.later(2), priority=100))
        claims = v.write(store, lambda writer: writer.claim(v.take, 9, NO_AGEING)).taken
        assert [claim.key.job_id for claim in claims] == [
            v.sha(name) for name in ("high", "usual", "low")
        ]
        assert [claim.priority for claim in claims] == [100, 0, -100]

    def test_a_rows_own_priority_counts_before_the_batchs(self, store: Store) -> None:
        rows = [
            v.row(0, "as the batch"),
            v.row(1, "low", priority=-1),
            v.row(2, "zero", priority=0),
        ]
        v.accept(store, v.batch("b", rows=[*rows, v.row(3, "high", priority=7)], priority=5))
        assert claimed(store) == ["high", "as the batch", "zero", "low"]

    def test_the_highest_of_rows_that_name_one_job_counts(self, store: Store) -> None:
        rows = [v.row(0, "other", priority=2), v.row(1, "job"), v.row(2, "job", priority=3)]
        v.accept(store, v.batch("b", rows=[*rows, v.row(3, "job", priority=1)]))
        assert claimed(store) == ["job", "other"]

    def test_what_is_asked_for_anew_with_a_higher_priority_moves_up(self, store: Store) -> None:
        v.accept(store, v.batch("a", *range(5)))
        v.accept(store, v.batch("high", "h0", "h1", at=v.later(1), priority=1))
        v.accept(store, v.batch("again", 4, 3, at=v.later(2), priority=1))
        assert [priority_of(store, number) for number in range(5)] == [0, 0, 0, 1, 1]
        assert claimed(store) == ["h0", 4, "h1", 3, 0, 1, 2]

    def test_a_lower_priority_moves_nothing_down(self, store: Store) -> None:
        v.accept(store, v.batch("a", "a0", "a1", priority=1))
        v.accept(store, v.batch("low", "a0", "a1", "low", at=v.later(1)))
        assert claimed(store) == ["a0", "a1", "low"]

    def test_what_has_been_claimed_stays_as_it_is(self, store: Store) -> None:
        v.accept(store, v.batch("a", "job"))
        v.claim_all(store)
        v.accept(store, v.batch("b", "job", at=v.later(1), priority=9))
        assert priority_of(store, "job") == 0

    def test_a_preview_moves_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("a", "job"))
        store.preview(v.batch("b", "job", priority=9))
        assert priority_of(store, "job") == 0


class ChangingPriorities:
    def test_a_batch_is_told_with_its_priority(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job", priority=-7))
        batch = store.find_batch("b")
        assert batch is not None
        assert (batch.batch_id, batch.display_name) == ("b", "the batch b")
        assert (batch.priority, batch.row_count, batch.created_at) == (-7, 1, v.NOON)
        assert v.set_priority(store, "b", 8)
        batch = store.find_batch("b")
        assert batch is not None
        assert batch.priority == 8

    def test_one_that_is_not_there_is_told_so(self, store: Store) -> None:
        assert store.find_batch("b") is None
        assert not v.set_priority(store, "b", 8)

    def test_what_waits_goes_by_it_from_then_on(self, store: Store) -> None:
        v.accept(store, v.batch("a", "a0", "a1", "a2"))
        v.accept(store, v.batch("b", "b0", "b1", at=v.later(1)))
        assert claimed(store, 1) == ["a0"]
        assert v.set_priority(store, "b", 1)
        assert claimed(store, 1) == ["b0"]
        assert v.set_priority(store, "a", 2)
        assert claimed(store) == ["a1", "a2", "b1"]
        assert priority_of(store, "a0") == 0

    def test_in_its_new_class_it_takes_turns_with_those_who_are_there(self, store: Store) -> None:
        v.accept(store, v.batch("there", *range(4), priority=3))
        assert claimed(store, 1) == [0]
        v.accept(store, v.batch("moved", "m0", "m1", at=v.later(1)))
        assert v.set_priority(store, "moved", 3)
        assert claimed(store) == [1, "m0", 2, "m1", 3]

    def test_a_priority_that_it_has_already_moves_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("a", *range(3)))
        v.accept(store, v.batch("b", "b0", at=v.later(1)))
        assert v.set_priority(store, "a", 0)
        assert claimed(store) == [0, "b0", 1, 2]

    def test_rows_that_have_their_own_keep_it(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=[v.row(0, "own", priority=2), v.row(1, "job")]))
        assert v.set_priority(store, "b", 9)
        assert (priority_of(store, "own"), priority_of(store, "job")) == (2, 9)

    def test_what_others_wait_for_with_more_stays_there(self, store: Store) -> None:
        v.accept(store, v.batch("a", "shared", "own", priority=5))
        v.accept(store, v.batch("b", "shared", at=v.later(1), priority=3))
        assert v.set_priority(store, "a", -4)
        assert (priority_of(store, "shared"), priority_of(store, "own")) == (3, -4)
        assert v.set_priority(store, "b", -9)
        assert priority_of(store, "shared") == -4

    def test_a_retry_goes_by_it_and_what_has_ended_does_not(self, store: Store) -> None:
        v.accept(store, v.batch("b", "again", "done", "failed"))
        assert v.fail(store, "again")
        v.end(store, "done")
        assert v.set_priority(store, "b", 4)
        assert (priority_of(store, "again"), priority_of(store, "done")) == (0, 0)
        assert v.fail(store, "again", number=2)
        assert v.set_priority(store, "b", 6)
        assert priority_of(store, "again") == 6

    def test_who_waited_for_an_earlier_run_of_the_job_counts_no_more(self, store: Store) -> None:
        v.accept(store, v.batch("before", "job", priority=50))
        v.end(store, "job", Event.EXITED_NONZERO)
        (row,) = v.accept(store, v.batch("after", "job", at=v.later(1), priority=3))
        assert row.outcome is Outcome.RESUBMITTED
        assert v.set_priority(store, "after", 2)
        assert priority_of(store, "job") == 2
        assert v.set_priority(store, "before", 60)
        assert priority_of(store, "job") == 2


class Ageing:
    def test_a_lower_priority_that_has_starved_gets_one_at_a_time(self, store: Store) -> None:
        starved = v.NOON
        v.accept(store, v.batch("low", *range(3), at=starved))
        rows = (f"h{number}" for number in range(4))
        v.accept(store, v.batch("high", *rows, at=now(), priority=2))
        first = claim(store, 3, queue.Ageing(seconds=60.0))
        assert names(first) == [0, "h0", "h1"]
        assert set(first.ageing.served_at) == {0, 2}
        assert names(claim(store, 9, first.ageing)) == ["h2", "h3", 1, 2]

    def test_what_was_served_just_now_stands_back_however_long_it_is_in_the_queue(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("low", "l0", "l1"))
        v.accept(store, v.batch("high", "h0", "h1", at=v.later(1), priority=2))
        served_at = now().timestamp()
        ageing = queue.Ageing(seconds=3600.0, served_at={0: served_at, 2: served_at})
        assert names(claim(store, 9, ageing)) == ["h0", "h1", "l0", "l1"]

    def test_a_claim_that_takes_nothing_remembers_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        before = queue.Ageing(seconds=60.0)
        claims = v.write(store, lambda writer: writer.claim(lambda _: Verdict.STOP, 9, before))
        assert (claims.taken, claims.ageing) == ([], before)


class SteppingOver:
    def test_who_is_stepped_over_stays_and_those_behind_it_go(self, store: Store) -> None:
        v.accept(store, v.batch("a", "held 0", "a1", "held 2", "a3"))
        v.accept(store, v.batch("low", "held 3", "l1", at=v.later(1), priority=-1))
        assert claimed(store, judge=all_but("held 0", "held 2", "held 3")) == ["a1", "a3", "l1"]
        assert v.status(store, "held 0") is JobStatus.PENDING
        assert claimed(store) == ["held 0", "held 2", "held 3"]

    def test_who_stops_is_overtaken_by_nobody(self, store: Store) -> None:
        v.accept(store, v.batch("a", "a0", "large", "a2", priority=1))
        v.accept(store, v.batch("low", "low", at=v.later(1)))
        stopping = all_but("large", verdict=Verdict.STOP)
        assert claimed(store, judge=stopping) == ["a0"]
        assert claimed(store) == ["large", "a2", "low"]

    def test_a_limit_counts_those_who_are_taken(self, store: Store) -> None:
        held = [f"held {number}" for number in range(300)]
        v.accept(store, v.batch("a", *held, "a0", "a1", "a2"))
        assert claimed(store, 2, judge=all_but(*held)) == ["a0", "a1"]

    def test_those_behind_very_many_wait_as_well_but_other_classes_go_on(
        self, store: Store
    ) -> None:
        held = [f"held {number}" for number in range(queue.MOST_STEPPED_OVER + 1)]
        v.accept(store, v.batch("a", *held, "behind", priority=1))
        v.accept(store, v.batch("low", "low", at=v.later(1)))
        asked: list[str] = []
        judge = all_but(*held, asked=asked)
        assert claimed(store, 1, judge=judge) == ["low"]
        assert len(asked) == queue.MOST_STEPPED_OVER + 2


class SeveralServers:
    def test_servers_share_every_class_and_nothing_is_claimed_twice(
        self, open_server: OpenServer
    ) -> None:
        servers = [open_server(), open_server()]
        v.accept(servers[0], v.batch("a", *range(30)))
        v.accept(servers[1], v.batch("high", *range(100, 130), at=v.later(1), priority=1))
        turns = itertools.islice(itertools.cycle(servers), 10)
        got = [name for server in turns for name in claimed(server, 7)]
        assert got == [*range(100, 130), *range(30)]

    def test_a_batch_of_another_server_takes_turns_as_well(self, open_server: OpenServer) -> None:
        first, second = open_server(), open_server()
        v.accept(first, v.batch("a", *range(10)))
        assert claimed(second, 3) == [0, 1, 2]
        v.accept(second, v.batch("b", "b0", at=v.later(1)))
        assert claimed(first, 3) == [3, "b0", 4]


def claim(store: Store, limit: int, ageing: queue.Ageing) -> Claims:
    return v.write(store, lambda writer: writer.claim(v.take, limit, ageing))


def claimed(
    store: Store, limit: int = 9_999, *, judge: Callable[[Claim], Verdict] = v.take
) -> list[object]:
    """Claim; the names of the jobs, in order."""
    return names(v.write(store, lambda writer: writer.claim(judge, limit, NO_AGEING)))


def names(claims: Claims) -> list[object]:
    """The jobs by what they are named here."""
    found = [json.loads(claim.spec.parameters_json)["name"] for claim in claims.taken]
    return [int(name) if name.isdecimal() else name for name in found]


def all_but(
    *others: str, verdict: Verdict = Verdict.STEP_OVER, asked: list[str] | None = None
) -> Callable[[Claim], Verdict]:
    """Take whoever is next unless it is one of these; `asked` is told of whom that was asked."""
    job_ids = {v.sha(name) for name in others}

    def judge(claim: Claim) -> Verdict:
        if asked is not None:
            asked.append(claim.key.job_id)
        return verdict if claim.key.job_id in job_ids else Verdict.TAKE

    return judge


def priority_of(store: Store, name: object) -> int:
    """That of the newest attempt of a job."""
    assert isinstance(store, SqlStore)
    return store_look.priority(store, v.sha(name))


def retried(name: object) -> Report:
    """The end of an attempt that is tried again at once."""
    return dataclasses.replace(v.report(name, Event.LOST), retry_after_seconds=0.0)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
