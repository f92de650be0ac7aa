"""Following: what other servers did is read once for all who wait, and nobody is forgotten."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Any, cast

import pytest

from dshpc_server import errors
from dshpc_server.batches import active, following, watchers
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store import port, records
from support import batches_values as values
from support import store_values

DEADLINE_SECONDS = 30.0
Tell = Callable[[Collection[str] | None], None]
TellBatches = Callable[[Collection[str]], None]


def sha(*names: str) -> list[str]:
    return [store_values.sha(name) for name in names]


class World:
    """A store that others change, and everybody who is to hear of it."""

    def __init__(self) -> None:
        self.tell: Tell = lambda _: None
        self.tell_batches: TellBatches = lambda _: None
        self.is_followed = False
        self.asked: list[list[str]] = []
        """Which jobs were read, question after question."""
        self.failures: list[Exception] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.found: list[records.ActiveAttempt] = []
        self.has_looked = False
        """Whether it was asked what is ours."""
        self.published: list[records.Attempt] = []
        self.did: list[Any] = []
        self.watchers = watchers.Watchers()
        self.active = active.ActiveAttempts()
        self.following = following.Following(
            store=cast("Any", self),
            committer=cast("Any", self),
            watchers=self.watchers,
            active=self.active,
            attempts=self,
            publish=self.published.extend,
        )

    @contextlib.contextmanager
    def follow(self, tell: Tell, tell_batches: TellBatches) -> Iterator[None]:
        self.tell, self.tell_batches, self.is_followed = tell, tell_batches, True
        yield
        self.is_followed = False

    async def read(self, question: Callable[[port.Reader], Any]) -> Any:  # noqa: ANN401 - whatever is asked
        answer = question(cast("Any", self))
        await self.may_answer.wait()
        if self.failures:
            raise self.failures.pop(0)
        return answer

    def find_all_attempts(self, job_ids: Collection[str]) -> Sequence[records.Attempt]:
        self.asked.append(sorted(job_ids))
        return [values.attempt(status=JobStatus.RUNNING, revision=len(self.asked)) for _ in job_ids]

    def find_active(self) -> Sequence[records.ActiveAttempt]:
        self.has_looked = True
        return self.found

    def wake(self) -> None:
        self.did.append("woken")

    async def cancel(self, keys: Collection[AttemptKey], reason: str) -> None:
        self.did.append((list(keys), reason))

    async def check(self) -> None:
        self.did.append("checked")

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not is_so():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.001)
    made = World()
    async with made.following:
        assert made.is_followed
        task = asyncio.create_task(made.following.run())
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not made.is_followed


async def test_what_is_told_from_a_thread_is_read_and_published(world: World) -> None:
    with world.watchers.watch(sha("a")):
        await asyncio.to_thread(world.tell, sha("a", "b"))
        await world.until(lambda: len(world.published) == 2)
    # b is nobody's here, but it may have come into the queue.
    assert world.asked == [sorted(sha("a", "b"))]


async def test_who_watches_a_batch_hears_that_its_rows_changed(world: World) -> None:
    with world.watchers.watch_batch("b") as watch, world.watchers.watch_batch("c") as other:
        await asyncio.to_thread(world.tell_batches, {"b", "unknown"})
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await watch.wait(None)
        assert watch.take_rows().is_any
        assert not other.take_rows().is_any
        world.following.note(None)
        await world.until(lambda: world.did)
        assert watch.take_rows().is_any
        assert other.take_rows().is_any


async def test_what_comes_during_a_reading_is_read_together_after_it(world: World) -> None:
    world.may_answer.clear()
    world.following.note(sha("a"))
    await world.until(lambda: world.asked)
    for name in "bcb":
        world.following.note(sha(name))
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.asked == [sha("a")]
    world.may_answer.set()
    await world.until(lambda: len(world.published) == 3)
    assert world.asked == [sha("a"), sorted(sha("b", "c"))]


async def test_when_anything_may_have_changed_all_that_somebody_waits_for_is_read(
    world: World,
) -> None:
    world.active.add(store_values.claim("ours"))
    with world.watchers.watch(sha("a", "b")):
        world.following.note(None)
        world.following.note(sha("c"))
        await world.until(lambda: world.did)
    assert world.asked == [sorted(sha("a", "b", "ours"))]
    assert world.did == ["checked"]


async def test_of_many_strangers_none_is_read_but_the_queue_is_looked_at(world: World) -> None:
    strangers = sha(*(str(number) for number in range(following.MANY_STRANGERS + 1)))
    with world.watchers.watch(sha("a")):
        world.following.note([*strangers, *sha("a")])
        await world.until(lambda: world.published)
    assert world.asked == [sha("a")]
    assert world.did == ["woken"]


async def test_many_jobs_are_read_a_part_at_a_time(world: World) -> None:
    many = sha(*(str(number) for number in range(2 * following.JOBS_PER_READING + 1)))
    with world.watchers.watch(many):
        world.following.note(many)
        await world.until(lambda: len(world.published) == len(many))
    assert [len(each) for each in world.asked] == [following.JOBS_PER_READING] * 2 + [1]
    assert sorted(job_id for each in world.asked for job_id in each) == sorted(many)


async def test_what_could_not_be_read_is_read_later(world: World) -> None:
    away = errors.UnavailableError("the database is away", retry_after_seconds=1)
    world.failures = [away, away]
    world.following.note(sha("a"))
    await world.until(lambda: world.published)
    assert world.asked == [sha("a")] * 3


async def test_ours_that_was_cancelled_at_another_server_is_stopped_once(world: World) -> None:
    one, coming = store_values.claim("a"), store_values.claim("b")
    world.active.add(one)
    world.found = [
        records.ActiveAttempt(
            claim=each, status=JobStatus.RUNNING, started_at=None, cancel_reason="enough"
        )
        for each in (one, coming)
    ]
    world.following.note(sha("a"))
    await world.until(lambda: len(world.did) == 2)
    world.following.note(sha("b"))
    await world.until(lambda: len(world.asked) == 2)
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.did == [([one.key], "enough"), ([coming.key], "enough")]
    # The answer to this claim is still on its way to us.
    world.active.add(coming)
    assert world.active.cancel_reason(coming.key) == "enough"


async def test_ours_that_ends_while_the_store_is_asked_is_not_remembered(world: World) -> None:
    one, other = store_values.claim("a"), store_values.claim("b")
    world.active.add(one)
    world.active.add(other)
    world.found = [
        records.ActiveAttempt(
            claim=each, status=JobStatus.RUNNING, started_at=None, cancel_reason="enough"
        )
        for each in (one, other)
    ]
    world.may_answer.clear()
    world.following.note([])
    await world.until(lambda: world.has_looked)
    world.active.remove(one.key)
    world.may_answer.set()
    await world.until(lambda: len(world.did) == 1)
    assert world.did == [([other.key], "enough")]
    assert world.active.cancel_reason(one.key) is None
