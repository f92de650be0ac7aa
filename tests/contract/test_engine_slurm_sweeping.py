"""What the Slurm engine removes of arrays that are over, and what it leaves alone."""

import os
import pathlib
import time

import pytest

from dshpc_server import clock
from dshpc_server.engine.slurm import command_line, sweeping, watching
from support import engine_launches, engine_told, fake_slurm, slurm_engines, slurm_waiting
from support.engine_staying import places
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

PREFIX = f"dshpc-{slurm_engines.DEPLOYMENT_ID}-"


@pytest.fixture
def arrays_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "engine" / "arrays"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def sweeper(fake: fake_slurm.FakeSlurm, arrays_dir: pathlib.Path) -> sweeping.Sweeping:
    return sweeping.Sweeping(
        arrays_dir,
        prefix=PREFIX,
        cluster=command_line.CommandLine(
            environment=fake.environment, timeouts=slurm_engines.TIMEOUTS
        ),
        watching=watching.Watching(arrays_dir),
        clock=clock.SystemClock(),
    )


async def test_only_old_arrays_of_this_deployment_that_slurm_does_not_have_are_removed(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    arrays_dir: pathlib.Path,
    sweeper: sweeping.Sweeping,
) -> None:
    old = [_array(arrays_dir / f"{PREFIX}{word}") for word in ("over", "touched")]
    young = _array(arrays_dir / f"{PREFIX}young", hours=0)
    others = [_array(arrays_dir / name) for name in ("dshpc-other-over", "mine")]
    (old[1] / "now" / "0").touch()
    done, waiting, engine = launches.acting(), launches.acting(), make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([done])
        await told.exit_of(done.key)
        fake.hold()
        await engine.submit_many([waiting])
        await slurm_waiting.queued(fake, 1)
        over, queued = (arrays_dir / one.name for one in fake.submissions)
        _make_old(over)
        _make_old(queued)
        await sweeper.sweep()
        assert set(os.listdir(arrays_dir)) == {  # noqa: PTH208 - names alone
            path.name for path in (old[1], young, *others, queued)
        }
        fake.release()
        assert (await told.exit_of(waiting.key)).exit_code == 0
    # The records of attempts are no part of it.
    other = make_engine()
    async with engine_told.running(other) as told:
        await other.recover(places(done))
        assert (await told.exit_of(done.key)).exit_code == 0


async def test_nothing_is_removed_while_the_controller_does_not_answer(
    fake: fake_slurm.FakeSlurm, arrays_dir: pathlib.Path, sweeper: sweeping.Sweeping
) -> None:
    old = _array(arrays_dir / f"{PREFIX}over")
    fake.down()
    await sweeper.sweep()
    assert old.exists()
    fake.up()
    await sweeper.sweep()
    assert not old.exists()


def _array(folder: pathlib.Path, *, hours: int = 2) -> pathlib.Path:
    for name in ("tasks", "ended", "now", "cancel"):
        (folder / name).mkdir(parents=True)
    (folder / "tasks" / "0").touch()
    _make_old(folder, hours=hours)
    return folder


def _make_old(folder: pathlib.Path, *, hours: int = 2) -> None:
    at = time.time() - hours * 3600
    for path in (*folder.iterdir(), folder):
        os.utime(path, (at, at))
