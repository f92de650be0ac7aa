"""What the Slurm engine tells of attempts that do not run yet: why not, and Slurm's id."""

import pathlib

import pytest

from dshpc_server.domain.job import Basis, RunTime
from dshpc_server.engine import port
from dshpc_server.engine.slurm import arrays
from support import engine_launches, engine_told, fake_slurm, slurm_waiting
from support.engine_staying import let_go, places
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

SHORT = RunTime(seconds=0.1, basis=Basis.DECLARED)


def ids(engine: port.Engine, *of: port.Launch) -> list[str]:
    """The id that each of these is told to have."""
    return [engine.waiting(launch.key).engine_job_id for launch in of]


async def test_what_waits_in_the_queue_tells_the_id_that_it_starts_with(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.script(STAY) for _ in range(3)], make_engine()
    fake.hold()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await engine_told.eventually(lambda: all(ids(engine, *many)))
        (array,) = fake.submissions
        assert ids(engine, *many) == [f"{array.id}_{index}" for index in range(3)]
        assert engine.waiting(many[0].key).why.startswith("waits in Slurm")
        before = ids(engine, *many)
        fake.release()
        starts = [await told.start_of(launch.key) for launch in many]
        assert [start.engine_job_id for start in starts] == before
        # Its start may not be on record yet, and then this is what tells it.
        assert engine.waiting(many[0].key) == port.Waiting(engine_job_id=before[0])
        let_go(*many)
        for launch in many:
            await told.exit_of(launch.key)
        await engine_told.eventually(lambda: engine.waiting(many[0].key) == port.Waiting())


async def test_what_slurm_has_not_accepted_has_no_id(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.acting(), make_engine()
    fake.down()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await engine_told.eventually(lambda: engine.waiting(launch.key).why != "")
        assert ids(engine, launch) == [""]
        fake.up()
        assert (await told.exit_of(launch.key)).exit_code == 0
    stranger = launches.acting()
    assert engine.waiting(stranger.key) == port.Waiting()


async def test_jobs_of_one_task_have_one_id(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many = [launches.script("echo done", run_time=SHORT) for _ in range(4)]
    policy = arrays.Policy(pack_below_seconds=5.0, pack_jobs=4, parallel=1)
    engine = make_engine(policy=policy)
    fake.hold()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await engine_told.eventually(lambda: all(ids(engine, *many)))
        (array,) = fake.submissions
        assert ids(engine, *many) == [f"{array.id}_0"] * 4
        fake.release()
        for launch in many:
            assert (await told.exit_of(launch.key)).engine_job_id == f"{array.id}_0"


@pytest.mark.parametrize("is_known", [True, False])
async def test_who_takes_over_what_waits_knows_its_id(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    tmp_path: pathlib.Path,
    *,
    is_known: bool,
) -> None:
    """Slurm tells it by the name, where whoever sent it could not put it down."""
    launch, first, other = launches.acting(), make_engine(), make_engine()
    fake.hold()
    async with engine_told.running(first):
        await first.submit_many([launch])
        await engine_told.eventually(lambda: all(ids(first, launch)))
        kept = tmp_path / "engine" / "arrays" / slurm_waiting.array_folder(launch) / "job_id"
        await engine_told.eventually(kept.exists)
    before = ids(first, launch)
    if not is_known:
        kept.unlink()
    async with engine_told.running(other) as told:
        await other.recover(places(launch))
        await engine_told.eventually(lambda: ids(other, launch) == before)
        fake.release()
        assert (await told.exit_of(launch.key)).engine_job_id == before[0]
    assert slurm_waiting.runs(launch) == [1]
