"""Starts of Slurm's tasks, as their wrappers show them: without another question to Slurm."""

import pytest

from dshpc_server.domain.job import Basis, RunTime
from dshpc_server.engine.slurm import arrays, looking
from support import engine_launches, engine_told, fake_slurm, slurm_waiting
from support.engine_staying import let_go, ready
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

SELDOM = looking.Pace(first_seconds=3600, last_seconds=3600, records_seconds=0.1)
"""Slurm is asked when something was submitted, and never again."""


@pytest.mark.parametrize("pack_jobs", [1, 3])
async def test_a_start_is_told_by_what_its_wrapper_shows(
    make_engine: MakeEngine, launches: engine_launches.Launches, pack_jobs: int
) -> None:
    short = RunTime(seconds=0.1, basis=Basis.DECLARED)
    many = [launches.script(STAY, run_time=short) for _ in range(3)]
    policy = arrays.Policy(pack_below_seconds=5.0, pack_jobs=pack_jobs, parallel=1)
    engine = make_engine(pace=SELDOM, policy=policy)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        start = await told.start_of(many[0].key)
        await ready(many[0])
        assert told.ends(many[0].key) == []
        let_go(*many)
        ends = [await told.exit_of(each.key) for each in many]
    assert (start.engine_job_id, start.node) == (ends[0].engine_job_id, ends[0].node)
    assert [len(told.starts(each.key)) for each in many] == [1, 1, 1]
    assert [told.starts(each.key)[0].at for each in many] == [end.started_at for end in ends]


async def test_what_lies_beside_the_marks_is_no_start(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
) -> None:
    fake.hold()
    waits, later = launches.script("exit 3"), launches.script("exit 4")
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([waits])
        await slurm_waiting.queued(fake, 1)
        (shown,) = launches.folder.parent.glob("engine/arrays/*/now")
        for name in ("0", "0.seen", "x", "99"):
            (shown / name).touch()
        await slurm_waiting.polled(fake)
        assert told.facts == []
        fake.release()
        await engine.submit_many([later])
        assert [(await told.exit_of(one.key)).exit_code for one in (waits, later)] == [3, 4]
