"""The queue's order: batches take turns, priorities go first, and nothing starves."""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dshpc_server.domain import job
from dshpc_server.domain.queue import Ageing, Place, Turns

MINUTE_SECONDS = 60.0


class Queue:
    """The attempts of one class that wait, as a store has them."""

    def __init__(self) -> None:
        self._batches = 0
        self.waiting: list[tuple[int, int, int]] = []
        """Turn, batch and index of each: the least is the first."""

    def add(self, jobs: int) -> int:
        """Let a batch come; return its name."""
        self._batches += 1
        turns = self.turns()
        self.waiting += [(turns.next(0), self._batches, index) for index in range(jobs)]
        return self._batches

    def turns(self) -> Turns:
        lowest = min((turn for turn, _, _ in self.waiting), default=None)
        return Turns(lambda _: lowest, at=1_000_000 * self._batches)

    def serve(self, jobs: int = 1) -> list[int]:
        """Take so many; return of which batches they are."""
        first = sorted(self.waiting)[:jobs]
        for each in first:
            self.waiting.remove(each)
        return [batch for _, batch, _ in first]


def test_a_batch_of_one_waits_for_one_attempt_of_a_batch_of_20_000() -> None:
    queue = Queue()
    large = queue.add(20_000)
    assert queue.serve(10) == [large] * 10
    small = queue.add(1)
    assert queue.serve(3) == [large, small, large]


def test_batches_of_equal_priority_take_turns_whenever_they_come() -> None:
    queue = Queue()
    first = queue.add(100)
    queue.serve(7)
    second, third = queue.add(4), queue.add(2)
    assert queue.serve(9) == [first, second, third] * 2 + [first, second] + [first]
    fourth = queue.add(2)
    assert queue.serve(5) == [second, first, fourth, first, fourth]


def test_a_batch_that_comes_before_anybody_is_served_comes_after_whoever_is_first() -> None:
    queue = Queue()
    batches = [queue.add(2) for _ in range(3)]
    assert queue.serve(6) == batches * 2


@given(
    jobs=st.integers(1, 40),
    steps=st.lists(st.tuples(st.lists(st.integers(1, 5), max_size=3), st.integers(1, 3))),
)
def test_whoever_waits_gets_a_turn_for_every_turn_of_those_who_come_later(
    jobs: int, steps: list[tuple[list[int], int]]
) -> None:
    """However many come, of each no more attempts than its own go first, and one."""
    queue = Queue()
    queue.add(3)
    watched = queue.add(jobs)
    served: list[int] = []
    for coming, going in steps:
        for each in coming:
            queue.add(each)
        served += queue.serve(going)
    served += queue.serve(len(queue.waiting))
    own = 0
    others: dict[int, int] = {}
    for batch in served:
        if own == jobs:
            break
        if batch == watched:
            own += 1
        else:
            others[batch] = others.get(batch, 0) + 1
            assert others[batch] <= own + 2


def test_a_stream_of_batches_of_one_does_not_stop_a_batch_that_waits() -> None:
    queue = Queue()
    queue.add(1)
    large = queue.add(50)
    served = []
    for _ in range(5_000):  # as many come as are served, and there is always one that waits
        queue.add(1)
        served += queue.serve()
    assert served.count(large) == 50


def test_where_nobody_waits_turns_begin_with_the_present() -> None:
    assert Turns(lambda _: None, at=5).next(0) == 5
    assert Turns(lambda _: 7, at=5).next(0) == 8
    own = Turns({0: 10, 3: None}.get, at=5)
    assert [own.next(0), own.next(3), own.next(0), own.next(3)] == [11, 5, 13, 7]


@pytest.mark.parametrize(
    ("priority", "place"),
    [
        (-1, Place(priority=0, turn=30)),
        (0, Place(priority=0, turn=21)),
        (4, Place(priority=4, turn=41)),
    ],
)
def test_what_others_wait_for_as_well_has_the_better_of_two_places(
    priority: int, place: Place
) -> None:
    turns = Turns({-1: 0, 0: 20, 4: 40}.get, at=5)
    assert turns.joined(Place(priority=0, turn=30), priority) == place


def test_who_joins_what_has_an_earlier_turn_leaves_it_there_and_has_had_his_own() -> None:
    turns = Turns(lambda _: 20, at=5)
    assert turns.joined(Place(priority=0, turn=20), 0) == Place(priority=0, turn=20)
    assert turns.next(0) == 23


def served(
    ageing: Ageing, heads: dict[int, float], times: Iterator[float]
) -> Iterator[tuple[float, int]]:
    """Serve one after the other, at these times, while all classes have somebody."""
    for now in times:
        priority = ageing.next(heads, now)
        ageing = ageing.serving(priority, now)
        yield now, priority


def test_a_higher_class_goes_first_until_a_lower_one_has_starved() -> None:
    heads = {10: 0.0, 0: 0.0}
    turns = list(served(Ageing(seconds=MINUTE_SECONDS), heads, (float(s) for s in range(2_000))))
    lower = [now for now, priority in turns if priority == 0]
    assert lower == [660.0, 1320.0, 1980.0]


def test_a_class_that_won_by_its_age_gets_one_and_stands_back_again() -> None:
    ageing = Ageing(seconds=MINUTE_SECONDS, served_at={10: 9_999.0})
    now, heads = 10_000.0, {10: 0.0, 0: 0.0}
    assert ageing.next(heads, now) == 0
    ageing = ageing.serving(0, now)
    assert ageing.next(heads, now) == 10


def test_what_was_just_queued_has_not_starved_however_long_nobody_was_served() -> None:
    ageing = Ageing(seconds=MINUTE_SECONDS, served_at={10: 5_000.0, 0: 0.0})
    assert ageing.next({10: 4_000.0, 0: 4_990.0}, 5_000.0) == 10


def test_of_two_that_count_the_same_the_higher_one_goes_first() -> None:
    ageing = Ageing(seconds=MINUTE_SECONDS, served_at={1: 100.0})
    assert ageing.next({1: 0.0, 0: 100.0}, 160.0) == 1
    assert ageing.next({1: 0.0, 0: 40.0}, 100.0) == 1
    assert ageing.next({1: 0.0, 0: -20.0}, 100.0) == 0


def test_a_clock_that_was_set_back_makes_nobody_wait_longer() -> None:
    ageing = Ageing(seconds=MINUTE_SECONDS, served_at={0: 1_000_000.0, 10: 0.0})
    assert ageing.next({10: 0.0, 0: 0.0}, 1_000.0) == 10
    assert ageing.serving(10, 1_000.0).next({10: 0.0, 0: 0.0}, 1_000.0) == 0
    assert ageing.next({0: 2_000_000.0}, 1_000.0) == 0


def test_without_ageing_a_higher_class_always_goes_first() -> None:
    assert Ageing(seconds=math.inf).next({1: 1e9, 0: 0.0}, 2e9) == 1


@given(
    priorities=st.sets(
        st.integers(job.LOWEST_PRIORITY, job.HIGHEST_PRIORITY), min_size=1, max_size=6
    ),
    step=st.floats(60.0, 900.0),
    remembered=st.dictionaries(st.integers(-100, 100), st.floats(0.0, 1e6)),
)
def test_no_class_starves(priorities: set[int], step: float, remembered: dict[int, float]) -> None:
    """Each is served at the latest when all others have starved as long as makes up for it."""
    ageing = Ageing(seconds=MINUTE_SECONDS, served_at=remembered)
    heads = dict.fromkeys(priorities, 0.0)
    spread = max(priorities) - min(priorities)
    longest = (spread + 2) * MINUTE_SECONDS + (len(priorities) + 1) * step
    begin = 1e6
    last = dict.fromkeys(priorities, begin)
    for now, priority in served(
        ageing,
        heads,
        itertools.takewhile(lambda now: now < begin + 3 * longest, itertools.count(begin, step)),
    ):
        last[priority] = now
        assert now - min(last.values()) <= longest


def test_what_is_remembered_is_a_value() -> None:
    before = Ageing()
    after = before.serving(3, 1.0)
    assert before.served_at == {}
    assert after.served_at == {3: 1.0}
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.seconds = 1.0  # type: ignore[misc] # that is what is tried
