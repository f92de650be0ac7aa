"""Work that is not left half done: a cancel takes effect when it has ended."""

import asyncio

import pytest

from dshpc_server.files import staying


async def test_what_the_work_answers_or_raises_is_the_callers() -> None:
    assert await staying.in_thread(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await staying.in_thread(lambda: 1 // 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_whoever_is_cancelled_stays_until_the_work_has_ended(
    fails: bool,  # noqa: FBT001 - two cases of one test
) -> None:
    begun, let_go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await let_go.wait()
        ended.set()
        if fails:
            raise ValueError("too late to be told")

    waiting = asyncio.ensure_future(staying.until_done(work()))
    await begun.wait()
    for _ in range(2):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
