"""What is kept of uploads goes when nobody has written to it for long enough, and not before."""

import asyncio
import hashlib
import os
import pathlib

import pytest

from dshpc_server.files import content, expiry
from support import methods_site

DATA = b"some bytes"
HASH = hashlib.sha256(DATA).hexdigest()
DAY_SECONDS = 86_400.0


@pytest.fixture
def clock() -> methods_site.HandClock:
    return methods_site.HandClock()


@pytest.fixture
def store(tmp_path: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(tmp_path)


def keep(
    store: content.ContentStore, folder: pathlib.Path, clock: methods_site.HandClock
) -> pathlib.Path:
    """Keep something, written to at the clock's moment."""
    with store.receive(HASH, len(DATA)) as coming:
        coming.write(DATA[:4])
    kept = folder / "incoming" / HASH
    os.utime(kept, (clock.now().timestamp(),) * 2)
    return kept


class Pauses:
    """Time between looks: it passes at once, so many times, and then never again."""

    def __init__(self, clock: methods_site.HandClock, count: int) -> None:
        self.asked: list[float] = []
        self._clock = clock
        self._count = count
        self.over = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if len(self.asked) > self._count:
            self.over.set()
            await asyncio.Event().wait()
        self._clock.advance(seconds)


async def look(store: content.ContentStore, clock: methods_site.HandClock, pauses: Pauses) -> None:
    """Run until the last look is over."""
    expiring = expiry.Expiry(store, expiry_seconds=DAY_SECONDS, clock=clock, pause=pauses)
    running = asyncio.ensure_future(expiring.run())
    async with asyncio.timeout(30):
        await pauses.over.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("age_seconds", "is_left"), [(DAY_SECONDS - 1, True), (DAY_SECONDS + 1, False)]
)
async def test_the_first_look_removes_what_is_too_old(
    store: content.ContentStore,
    tmp_path: pathlib.Path,
    clock: methods_site.HandClock,
    age_seconds: float,
    is_left: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    kept = keep(store, tmp_path, clock)
    clock.advance(age_seconds)
    await look(store, clock, Pauses(clock, 0))
    assert kept.exists() == is_left
    assert store.committed_bytes(HASH) == (4 if is_left else 0)


async def test_a_later_look_removes_what_has_become_too_old(
    store: content.ContentStore, tmp_path: pathlib.Path, clock: methods_site.HandClock
) -> None:
    kept = keep(store, tmp_path, clock)
    looks = int(DAY_SECONDS / expiry.INTERVAL_SECONDS)
    await look(store, clock, Pauses(clock, looks))
    assert kept.exists()
    pauses = Pauses(clock, 1)
    await look(store, clock, pauses)
    assert not kept.exists()
    assert set(pauses.asked) == {expiry.INTERVAL_SECONDS}


async def test_what_is_in_use_is_never_removed(
    store: content.ContentStore, tmp_path: pathlib.Path, clock: methods_site.HandClock
) -> None:
    kept = keep(store, tmp_path, clock)
    clock.advance(2 * DAY_SECONDS)
    with store.receive(HASH, len(DATA), 4) as coming:
        await look(store, clock, Pauses(clock, 0))
        assert kept.exists()
        coming.write(DATA[4:])
        assert coming.commit() is False
    assert store.is_intact(HASH)


async def test_stored_content_is_no_matter_of_age(
    store: content.ContentStore, clock: methods_site.HandClock
) -> None:
    store.put(DATA)
    clock.advance(10 * DAY_SECONDS)
    await look(store, clock, Pauses(clock, 0))
    assert store.is_intact(HASH)


async def test_a_disk_that_fails_is_looked_at_again(
    store: content.ContentStore,
    tmp_path: pathlib.Path,
    clock: methods_site.HandClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = keep(store, tmp_path, clock)
    clock.advance(2 * DAY_SECONDS)
    expire = store.expire
    failures = [OSError("no luck")]

    def fails_once(*asked: object) -> list[str]:
        if failures:
            raise failures.pop()
        return expire(*asked)  # type: ignore[arg-type] # whatever it is asked

    monkeypatch.setattr(store, "expire", fails_once)
    await look(store, clock, Pauses(clock, 1))
    assert not failures
    assert not kept.exists()
