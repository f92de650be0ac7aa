"""Calls that are lost: who keeps a batch, and what becomes of one that nobody keeps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dshpc_server import errors
from dshpc_server.batches import disconnects, showing, withdrawing
from dshpc_server.store import records

DEADLINE_SECONDS = 30.0
LONG_SECONDS = 3600.0
NOTHING = records.Withdrawn(cancel_requested=0, detached=0, already_terminal=0, to_stop=())


class Withdrawals:
    """Notes what is withdrawn; each of these errors is raised once before."""

    def __init__(self, *failing: Exception) -> None:
        self.asked: list[tuple[str, str, withdrawing.Cause]] = []
        self._failing = list(failing)
        self._has_changed = asyncio.Event()

    async def withdraw(
        self, batch_id: str, reason: str, cause: withdrawing.Cause
    ) -> records.Withdrawn:
        self.asked.append((batch_id, reason, cause))
        self._has_changed.set()
        if self._failing:
            raise self._failing.pop(0)
        return NOTHING

    async def until(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.asked) < count:
                self._has_changed.clear()
                await self._has_changed.wait()


class NothingStaged:
    """Enough of a committer for `showing.Showing`: no batch is about to be shown."""

    async def read(self, question: object) -> bool:
        del question
        return False


GONE = ("b", "the client has gone away", withdrawing.Cause.DISCONNECTED)


@contextlib.asynccontextmanager
async def watching(
    withdrawals: Withdrawals, grace_seconds: float = 0.0
) -> AsyncIterator[disconnects.Disconnects]:
    store: Any = NothingStaged()
    async with disconnects.Disconnects(
        withdrawing=withdrawals, showing=showing.Showing(store), grace_seconds=grace_seconds
    ) as made:
        yield made


def lose(
    made: disconnects.Disconnects,
    batch_id: str = "b",
    *,
    cancels: bool = True,
    by: type[BaseException] = asyncio.CancelledError,
) -> None:
    with pytest.raises(by), made.calling(batch_id, cancels=cancels):
        raise by


@pytest.mark.parametrize("by", [asyncio.CancelledError, GeneratorExit])
async def test_a_batch_whose_call_is_lost_is_withdrawn_after_the_grace(
    by: type[BaseException],
) -> None:
    withdrawals = Withdrawals()
    async with watching(withdrawals) as made:
        lose(made, by=by)
        assert withdrawals.asked == []
        await withdrawals.until(1)
    assert withdrawals.asked == [GONE]


async def test_what_is_not_lost_or_was_not_to_go_is_kept() -> None:
    withdrawals = Withdrawals()
    async with watching(withdrawals) as made:
        lose(made, "not to go", cancels=False)
        with made.calling("answered", cancels=True):
            pass
        lose(made, "failed", by=RuntimeError)
        lose(made)
        await withdrawals.until(1)
    assert withdrawals.asked == [GONE]


async def test_whoever_follows_it_meanwhile_keeps_it_for_good() -> None:
    withdrawals = Withdrawals()
    async with watching(withdrawals) as made:
        lose(made, "kept")
        with made.following("kept"):
            pass
        lose(made)
        await withdrawals.until(1)
    assert withdrawals.asked == [GONE]


async def test_whoever_followed_it_already_keeps_it() -> None:
    withdrawals = Withdrawals()
    async with watching(withdrawals) as made:
        with made.following("kept"):
            lose(made, "kept")
            lose(made)
            await withdrawals.until(1)
    assert withdrawals.asked == [GONE]


async def test_of_two_calls_that_are_lost_the_last_one_counts() -> None:
    withdrawals = Withdrawals()
    async with watching(withdrawals) as made:
        with contextlib.suppress(asyncio.CancelledError), made.calling("b", cancels=True):
            lose(made)
            raise asyncio.CancelledError
        await withdrawals.until(1)
    assert withdrawals.asked == [GONE]


async def test_calls_that_end_because_the_server_stops_are_not_lost() -> None:
    withdrawals = Withdrawals()
    async with watching(withdrawals) as made:
        made.stop()
        lose(made)
        await asyncio.sleep(0)
    assert withdrawals.asked == []


async def test_a_server_that_stops_forgets_what_it_was_waiting_for() -> None:
    withdrawals = Withdrawals()
    async with asyncio.timeout(DEADLINE_SECONDS), watching(withdrawals, LONG_SECONDS) as made:
        lose(made)
    assert withdrawals.asked == []


async def test_a_store_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnects, "RETRY_SECONDS", 0.0)
    withdrawals = Withdrawals(errors.UnavailableError("away", retry_after_seconds=1.0))
    async with watching(withdrawals) as made:
        lose(made)
        await withdrawals.until(2)
    assert withdrawals.asked == [GONE, GONE]


async def test_a_call_that_was_lost_before_its_batch_was_accepted_leaves_nothing() -> None:
    # It is looked for once more when it is known that it is not about to be shown.
    withdrawals = Withdrawals(*[errors.NotFoundError("batch", "b")] * 2)
    async with watching(withdrawals) as made:
        lose(made)
        await withdrawals.until(2)
        lose(made, "b")
        await withdrawals.until(3)
    assert withdrawals.asked == [GONE] * 3
