"""The committer: group commit, changes before answers, and an end that finishes what waits."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

from dshpc_server import errors
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store.committer import Committer
from dshpc_server.store.port import Writer
from dshpc_server.store.records import Attempt, ChangedRows
from support import store_values as v
from support.store_scripted import ScriptedStore

T = TypeVar("T")

DEADLINE_SECONDS = 10


def change(number: int) -> Attempt:
    return Attempt(
        key=AttemptKey(job_id=v.sha(number), number=1),
        status=JobStatus.PENDING,
        revision=number,
        chain=1,
        function_hash=v.sha("function"),
        replaced=None,
        created_at=v.NOON,
        started_at=None,
        ended_at=None,
        result=None,
    )


def answering(answer: T) -> Callable[[Writer], T]:
    return lambda _: answer


def ignore(_: Sequence[Attempt]) -> None:
    pass


class Gate:
    """A work that holds the writer's thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def work(self, _: object) -> str:
        self.entered.set()
        assert self._open.wait(DEADLINE_SECONDS)
        return "gate"

    def open(self) -> None:
        self._open.set()

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, DEADLINE_SECONDS)


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


async def held(
    committer: Committer, works: Sequence[Callable[[Writer], Any]]
) -> tuple[Gate, list[asyncio.Task[Any]]]:
    """Works that wait together behind a gate; the gate's own answer comes first."""
    gate = Gate()
    tasks = [asyncio.create_task(committer.write(gate.work))]
    await gate.wait_entered()
    tasks += [asyncio.create_task(committer.write(work)) for work in works]
    await asyncio.sleep(0)  # lets each task put its work
    return gate, tasks


async def test_what_waits_goes_into_one_commit_and_each_gets_its_own_answer(
    store: ScriptedStore,
) -> None:
    async with Committer(store.as_store(), on_changes=ignore) as committer:
        gate, tasks = await held(committer, [answering(number) for number in range(50)])
        gate.open()
        assert await asyncio.gather(*tasks) == ["gate", *range(50)]
    assert store.groups == [1, 50]


async def test_works_that_take_long_have_commits_of_their_own_in_turns_with_the_others(
    store: ScriptedStore,
) -> None:
    long = Gate()
    async with Committer(store.as_store(), on_changes=ignore) as committer:

        def alone(work: Callable[[Writer], Any]) -> asyncio.Task[Any]:
            return asyncio.create_task(committer.write(work, alone=True))

        gate, tasks = await held(committer, [answering(1)])
        tasks += [alone(long.work), alone(answering(2))]
        tasks += [asyncio.create_task(committer.write(answering(3)))]
        await asyncio.sleep(0)  # lets each task put its work
        gate.open()
        await long.wait_entered()
        assert await asyncio.gather(*tasks[:2], tasks[-1]) == ["gate", 1, 3]
        later = asyncio.create_task(committer.write(answering(4)))
        await asyncio.sleep(0)
        long.open()
        assert await later == 4
        assert await asyncio.gather(*tasks[2:4]) == ["gate", 2]
    assert store.groups == [1, 2, 1, 1, 1]
    assert store.answered == [["gate"], [1, 3], ["gate"], [4], [2]]


async def test_a_work_that_raises_is_told_to_its_caller_alone(store: ScriptedStore) -> None:
    def failing(_: Writer) -> None:
        raise LookupError("mine")

    def stopping(_: Writer) -> None:
        raise StopIteration

    async with Committer(store.as_store(), on_changes=ignore) as committer:
        gate, tasks = await held(committer, [lambda _: 1, failing, stopping, lambda _: 2])
        gate.open()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [str, int, LookupError, RuntimeError, int]


async def test_a_commit_that_may_have_been_made_is_told_before_its_answers(
    store: ScriptedStore,
) -> None:
    told: list[str] = []
    committer = Committer(
        store.as_store(), on_changes=ignore, on_doubt=lambda: told.append("doubt")
    )

    async def write(error: Exception | None) -> None:
        if error is not None:
            store.failures.append(error)
        with contextlib.suppress(errors.UnavailableError, OSError):
            await committer.write(answering(1))
        told.append("answer")

    async with committer:
        await write(errors.UnavailableError("cut off", retry_after_seconds=1))
        assert told == ["doubt", "answer"]
        await write(errors.NoRoomError("full", retry_after_seconds=1))
        await write(OSError("a bug"))
        await write(None)
    assert told == ["doubt", *["answer"] * 4]


async def test_a_commit_that_fails_is_told_to_all_and_the_next_one_works(
    store: ScriptedStore,
) -> None:
    changes: list[Attempt] = []
    async with Committer(store.as_store(), on_changes=changes.extend) as committer:
        store.failures.append(errors.UnavailableError("disk full", retry_after_seconds=1))
        gate, tasks = await held(committer, [])
        store.failures.append(OSError("a bug"))
        late = asyncio.create_task(committer.write(lambda _: change(1)))
        await asyncio.sleep(0)
        gate.open()
        answers = await asyncio.gather(*tasks, late, return_exceptions=True)
        assert [type(answer) for answer in answers] == [errors.UnavailableError, OSError]
        assert changes == []
        assert await committer.write(lambda _: change(2)) == change(2)
    assert changes == [change(2)]


async def test_changes_are_told_in_commit_order_before_the_answers_on_the_loops_thread(
    store: ScriptedStore,
) -> None:
    seen: list[object] = []
    threads = set()

    def on_changes(changes: Sequence[Attempt]) -> None:
        threads.add(threading.current_thread())
        seen.extend(changes)

    async def writing(committer: Committer, number: int) -> None:
        answer = await committer.write(lambda _: change(number))
        assert answer in seen
        seen.append(f"answer {number}")

    async with Committer(store.as_store(), on_changes=on_changes) as committer:
        await asyncio.gather(*(writing(committer, number) for number in range(1, 40)))
    assert [each for each in seen if isinstance(each, Attempt)] == [change(n) for n in range(1, 40)]
    assert threads == {threading.current_thread()}


async def test_a_commit_without_changes_tells_nothing(store: ScriptedStore) -> None:
    told: list[object] = []
    async with Committer(store.as_store(), on_changes=told.append) as committer:
        await committer.write(lambda _: "nothing changed")
    assert told == []


async def test_rows_that_changed_are_told_before_the_answer(store: ScriptedStore) -> None:
    told: list[ChangedRows] = []
    rows = ChangedRows(batch_id="b", indexes=[1, 2])
    async with Committer(store.as_store(), on_changes=ignore, on_rows=told.extend) as committer:
        assert await committer.write(lambda _: rows) == rows
        assert told == [rows]
        await committer.write(lambda _: "nothing changed")
    assert told == [rows]


async def test_a_listener_that_raises_is_reported_and_no_answer_is_lost(
    store: ScriptedStore,
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def on_changes(_: Sequence[Attempt]) -> None:
        raise LookupError("in the listener")

    async with Committer(store.as_store(), on_changes=on_changes) as committer:
        assert await committer.write(lambda _: change(1)) == change(1)
        assert await committer.write(lambda _: "next") == "next"
    assert [type(context["exception"]) for context in reported] == [LookupError]


async def test_the_work_of_a_cancelled_caller_still_commits(store: ScriptedStore) -> None:
    changes: list[Attempt] = []
    async with Committer(store.as_store(), on_changes=changes.extend) as committer:
        gate, (first, cancelled, neighbour) = await held(
            committer, [lambda _: change(1), lambda _: change(2)]
        )
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        gate.open()
        assert [await first, await neighbour] == ["gate", change(2)]
    assert changes == [change(1), change(2)]


async def test_leaving_finishes_what_waits_and_ends_the_threads(store: ScriptedStore) -> None:
    reading = Gate()
    async with Committer(store.as_store(), on_changes=ignore) as committer:
        gate, tasks = await held(committer, [answering(number) for number in range(5)])
        tasks += [
            asyncio.create_task(committer.write(answering(5 + number), alone=True))
            for number in range(2)
        ]
        question = asyncio.create_task(committer.read(reading.work))
        await reading.wait_entered()
        asyncio.get_running_loop().call_soon(gate.open)
        asyncio.get_running_loop().call_soon(reading.open)
    assert [task.result() for task in tasks] == ["gate", *range(7)]
    assert await question == "gate"
    assert not [t for t in threading.enumerate() if t.name.startswith("store-")]


async def test_leaving_while_being_cancelled_ends_the_threads_too(store: ScriptedStore) -> None:
    gate = Gate()
    committers = []

    async def serving() -> None:
        async with Committer(store.as_store(), on_changes=ignore) as committer:
            committers.append(committer)
            await committer.write(gate.work)

    task = asyncio.create_task(serving())
    await gate.wait_entered()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not committers[0]._thread.is_alive()


async def test_outside_its_context_it_is_unavailable(store: ScriptedStore) -> None:
    committer = Committer(store.as_store(), on_changes=ignore)
    for _ in range(2):
        with pytest.raises(errors.UnavailableError):
            await committer.write(lambda _: 1)
        with pytest.raises(errors.UnavailableError):
            await committer.read(lambda _: 1)
        async with committer:
            pass
    assert store.groups == []


async def test_questions_are_asked_beside_a_write_and_each_other(store: ScriptedStore) -> None:
    both = threading.Barrier(2)
    async with Committer(store.as_store(), on_changes=ignore) as committer:
        gate, tasks = await held(committer, [])
        answers = await asyncio.gather(
            *(committer.read(lambda reader: (both.wait(DEADLINE_SECONDS), reader)) for _ in "ab")
        )
        assert [reader for _, reader in answers] == [store.as_store()] * 2
        gate.open()
        await asyncio.gather(*tasks)


async def test_a_question_that_raises_is_told_to_its_caller(store: ScriptedStore) -> None:
    async with Committer(store.as_store(), on_changes=ignore) as committer:
        with pytest.raises(ZeroDivisionError):
            await committer.read(lambda _: 1 // 0)
        assert await committer.read(lambda _: "next") == "next"
