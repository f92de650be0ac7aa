"""The Slurm engine over a disk that fails for a moment, or on which something is in the way.

One folder that cannot be read or made is its own attempt's trouble, and nobody else's.
"""

import asyncio
import contextlib
import errno
import os
import pathlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from dshpc_server import clock
from dshpc_server.engine import port, wary
from dshpc_server.engine.slurm import cluster, records, submitting, sweeping, watching
from dshpc_server.engine.slurm import engine as slurm_engine
from dshpc_server.engine.slurm import places as slurm_places
from support import engine_launches, engine_told, fake_slurm, slurm_engines, slurm_waiting
from support.engine_staying import places
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

PREFIX = f"dshpc-{slurm_engines.DEPLOYMENT_ID}-"


class _Failing:
    """A disk that fails with what it is asked for, so often."""

    def __init__(self, times: int, number: int = errno.EIO) -> None:
        self.times = times
        self._number = number

    def check(self) -> None:
        if self.times > 0:
            self.times -= 1
            raise OSError(self._number, os.strerror(self._number))


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has failed is tried again soon."""
    monkeypatch.setattr(slurm_engine, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(submitting, "_RETRY_SECONDS", 0.05)


@pytest.fixture
def arrays_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the engine puts its arrays."""
    return tmp_path / "engine" / "arrays"


async def test_what_is_cancelled_unsent_is_told_of_though_the_disk_fails_with_its_record(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many, engine, disk = [launches.acting() for _ in range(3)], make_engine(), _Failing(times=1)
    write_cancelled = records.write_cancelled

    def written(folder: records.Folder, name: str) -> bool:
        disk.check()
        return write_cancelled(folder, name)

    monkeypatch.setattr(records, "write_cancelled", written)
    fake.down()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await engine.cancel_many([one.key for one in many])
        ends = [await told.end_of(one.key) for one in many]
        fake.up()
        await slurm_waiting.answering(engine)
        await slurm_waiting.polled(fake)
    assert disk.times == 0
    # The first was cancelled before it was ever started, which is all that its folder says.
    assert isinstance(ends[0], port.Lost | port.Exited)
    assert [end.cause for end in ends[1:] if isinstance(end, port.Exited)] == [
        port.Cause.CANCELLED
    ] * 2
    assert all((one.folder / "start").exists() for one in many)
    assert fake.submissions == []


async def test_of_what_is_taken_up_only_that_whose_folder_cannot_be_read_waits(
    make_engine: MakeEngine,
    launches: engine_launches.Launches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many, first, other = [launches.acting() for _ in range(3)], make_engine(), make_engine()
    async with engine_told.running(first) as told:
        await first.submit_many(many)
        await slurm_waiting.all_run_once(told, *many)
    unread, disk, read = many[1], _Failing(times=10**9), wary.read

    def asked(path: str | os.PathLike[str]) -> tuple[bytes, float] | None:
        if pathlib.Path(path) == unread.folder / "task.json":
            disk.check()
        return read(path)

    monkeypatch.setattr(wary, "read", asked)
    async with engine_told.running(other) as told:
        await other.recover(places(*many))
        for launch in (many[0], many[2]):
            assert (await told.exit_of(launch.key)).exit_code == 0
        assert not told.ends(unread.key)
        disk.times = 0
        assert (await told.exit_of(unread.key)).exit_code == 0
    assert slurm_waiting.runs(*many) == [1] * 3


@pytest.mark.parametrize("kind", ["file", "link", "folder of a file's name"])
async def test_what_is_in_the_way_of_one_attempt_is_told_of_it_and_the_others_run(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    arrays_dir: pathlib.Path,
    kind: str,
) -> None:
    barred, others = launches.acting(), [launches.acting() for _ in range(2)]
    barred.folder.parent.mkdir(parents=True)
    match kind:
        case "file":
            barred.folder.write_text("in the way")
        case "link":
            barred.folder.symlink_to("nowhere")
        case _:
            (barred.folder / "params.json").mkdir(parents=True)
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([others[0], barred, others[1]])
        end = await told.end_of(barred.key)
        await slurm_waiting.all_run_once(told, *others)
    assert isinstance(end, port.NotStarted)
    assert end.reason.startswith("its folder: ")
    assert not end.is_permanent
    assert [one.tasks for one in fake.submissions] == [2]
    assert _names(arrays_dir) == {one.name for one in fake.submissions}
    assert slurm_waiting.runs(barred) == [0]


async def test_a_disk_that_is_full_for_a_while_leaves_no_array_that_was_not_sent(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    arrays_dir: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many, engine = [launches.acting() for _ in range(2)], make_engine()
    disk, write = _Failing(times=3, number=errno.ENOSPC), slurm_places.write

    def written(folder: pathlib.Path, name: str, place: slurm_places.Place) -> None:
        disk.check()
        write(folder, name, place)

    monkeypatch.setattr(slurm_places, "write", written)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await slurm_waiting.all_run_once(told, *many)
    assert disk.times == 0
    assert _names(arrays_dir) == {one.name for one in fake.submissions}


class _Empty:
    """A cluster with nothing in its queue; it counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def tasks(self, *, ended: bool) -> Sequence[cluster.Task]:
        assert not ended
        self.asked += 1
        return []


async def test_to_sweep_a_folder_that_is_not_there_ends_nobody(
    arrays_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _sweeping(arrays_dir, monkeypatch) as (empty, task):
        await _swept(empty, task)
        old = _old_array(arrays_dir)
        await engine_told.eventually(lambda: not old.exists())


async def test_to_sweep_what_the_disk_does_not_tell_of_ends_nobody(
    arrays_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, disk, lstat = _old_array(arrays_dir), _Failing(times=10**9), pathlib.Path.lstat

    def asked(path: pathlib.Path) -> os.stat_result:
        if old in (path, path.parent):
            disk.check()
        return lstat(path)

    monkeypatch.setattr(pathlib.Path, "lstat", asked)
    async with _sweeping(arrays_dir, monkeypatch) as (empty, task):
        await _swept(empty, task)
        assert old.exists()
        disk.times = 0
        await engine_told.eventually(lambda: not old.exists())


@contextlib.asynccontextmanager
async def _sweeping(
    arrays_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[_Empty, asyncio.Task[Any]]]:
    """Sweep again and again for the length of the block."""
    monkeypatch.setattr(sweeping, "INTERVAL_SECONDS", 0.01)
    empty = _Empty()
    sweeper = sweeping.Sweeping(
        arrays_dir,
        prefix=PREFIX,
        cluster=cast("cluster.Cluster", empty),
        watching=watching.Watching(arrays_dir),
        clock=clock.SystemClock(),
    )
    task = asyncio.create_task(sweeper.run())
    try:
        yield empty, task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _swept(empty: _Empty, task: asyncio.Task[Any]) -> None:
    """Wait until it was swept twice, and is going to be again."""
    await engine_told.eventually(lambda: empty.asked > 2 or task.done())
    assert not task.done()


def _old_array(arrays_dir: pathlib.Path) -> pathlib.Path:
    """The folder of an array that is over."""
    new = arrays_dir.with_name("new")
    new.mkdir(parents=True)
    at = time.time() - 2 * sweeping.YOUNGEST_SECONDS
    os.utime(new, (at, at))
    arrays_dir.mkdir(exist_ok=True)
    return new.rename(arrays_dir / f"{PREFIX}over")


def _names(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
