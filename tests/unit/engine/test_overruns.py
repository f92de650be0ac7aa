"""Who is over a limit, and when to look."""

from dshpc_server.engine.local import overruns
from dshpc_server.engine.local.attempt import NO_SLOT, Attempt


class Memory:
    """Says of whom it is told that they are over."""

    name = "told"

    def __init__(self) -> None:
        self.over: set[Attempt] = set()

    def limit(self, attempt: Attempt) -> None:
        """Nothing to do."""

    def is_exceeded(self, attempt: Attempt) -> bool:
        return attempt in self.over

    def release(self, attempt: Attempt) -> None:
        """Nothing to do."""


def _attempt(deadline: float, memory_bytes: int = 0) -> Attempt:
    attempt = Attempt(name="a", folder="/f", memory_bytes=memory_bytes, slot=NO_SLOT)
    attempt.deadline = deadline
    return attempt


def test_each_deadline_is_found_once_and_in_order() -> None:
    watch = overruns.Overruns(Memory())
    late, early = _attempt(20), _attempt(10)
    for attempt in (late, early):
        watch.watch(attempt)
    assert watch.due_at() == 10
    assert list(watch.found(9.9)) == []
    assert list(watch.found(10)) == [(early, "OVER_TIME")]
    assert list(watch.found(25)) == [(late, "OVER_TIME")]
    assert watch.due_at() is None


def test_an_attempt_that_has_ended_is_not_found() -> None:
    watch = overruns.Overruns(Memory())
    attempt = _attempt(10, memory_bytes=1)
    watch.watch(attempt)
    watch.forget(attempt)
    assert list(watch.found(10)) == []


def test_memory_is_looked_at_again_after_a_while() -> None:
    memory = Memory()
    watch = overruns.Overruns(memory)
    attempt = _attempt(10**12, memory_bytes=1)
    watch.watch(attempt)
    memory.over.add(attempt)
    now = 10.0**9
    assert list(watch.found(now)) == [(attempt, "OVER_MEMORY")]
    due_at = watch.due_at()
    assert due_at is not None
    assert due_at > now
    assert list(watch.found(due_at - 0.01)) == []
    assert list(watch.found(due_at)) == [(attempt, "OVER_MEMORY")]


def test_short_attempts_with_distant_deadlines_do_not_pile_up() -> None:
    watch = overruns.Overruns(Memory())
    for number in range(5000):
        attempt = _attempt(10.0**9 + number)
        watch.watch(attempt)
        watch.forget(attempt)
    assert len(watch._deadlines) < 2100
