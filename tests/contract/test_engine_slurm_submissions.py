"""Submitting to Slurm when it goes wrong: unknown outcomes, refusals, what is lost on the way.

Whatever sbatch says, each attempt runs once, or never and is told so.
"""

import asyncio
import shutil

import pytest

from dshpc_server.domain.job import Resources
from dshpc_server.engine import port
from dshpc_server.engine.slurm import cluster, command_line, looking
from support import engine_launches, engine_told, fake_slurm, slurm_engines, slurm_waiting
from support.engine_staying import let_go, ready, started
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]


class _Losing(command_line.CommandLine):
    """Does not send the first array that it is given, or only before the second."""

    def __init__(self, fake: fake_slurm.FakeSlurm, *, comes_late: bool = False) -> None:
        super().__init__(environment=fake.environment, timeouts=slurm_engines.TIMEOUTS)
        self._comes_late = comes_late
        self._fake = fake
        self._given: list[cluster.Array] = []

    async def submit(self, array: cluster.Array) -> str:
        self._given.append(array)
        if len(self._given) == 1:
            raise cluster.UnknownOutcomeError("the connection broke")
        if len(self._given) == 2 and self._comes_late:
            await super().submit(self._given[0])
            while not slurm_waiting.in_state(self._fake, "RUNNING"):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        return await super().submit(array)


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_submission_of_unknown_outcome_is_found_by_its_name_and_not_sent_again(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    hangs: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    many = [launches.acting() for _ in range(3)]
    fake.take_but_fail(hangs=hangs)
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await slurm_waiting.all_run_once(told, *many)
    assert len(fake.submissions) == 1


async def test_a_submission_that_waits_unknown_in_the_queue_is_not_sent_again(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.acting(), make_engine()
    fake.hold()
    fake.take_but_fail()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await slurm_waiting.queued(fake, 1)
        await slurm_waiting.polled(fake, 4)
        fake.release()
        await slurm_waiting.all_run_once(told, launch)
    assert len(fake.submissions) == 1


async def test_a_submission_that_never_arrived_is_sent_again(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting() for _ in range(3)], make_engine(asked=_Losing(fake))
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await slurm_waiting.all_run_once(told, *many)
    assert [one.tasks for one in fake.submissions] == [3]


async def test_a_submission_that_arrives_after_it_was_sent_again_runs_nothing_beside_it(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    steady = looking.Pace(first_seconds=0.2, last_seconds=0.2, records_seconds=0.1)
    asked = _Losing(fake, comes_late=True)
    launch, engine = launches.script(STAY), make_engine(asked=asked, pace=steady)
    async with started(engine, launch) as told:
        await engine_told.eventually(lambda: len(slurm_waiting.in_state(fake, "COMPLETED")) == 1)
        await slurm_waiting.polled(fake, 30)
        assert not told.ends(launch.key)
        let_go(launch)
        await slurm_waiting.all_run_once(told, launch)
    assert len(fake.submissions) == 2


async def test_a_submission_while_the_controller_is_away_runs_once_when_it_is_back(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting() for _ in range(3)], make_engine()
    async with engine_told.running(engine) as told:
        await slurm_waiting.answering(engine)
        fake.down()  # the engine does not know that yet: sbatch is called, and tries on
        await engine.submit_many(many)
        await slurm_waiting.failing(engine)
        fake.up()
        await slurm_waiting.all_run_once(told, *many)
    assert sum(one.tasks for one in fake.submissions) == 3


async def test_of_an_array_that_slurm_lost_what_was_started_counts_and_the_rest_is_lost(
    make_engine: MakeEngine, launches: engine_launches.Launches, fake: fake_slurm.FakeSlurm
) -> None:
    many, engine = [launches.script(STAY) for _ in range(4)], make_engine()
    fake.hold()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many[:2])
        await slurm_waiting.queued(fake, 2)
        fake.release()
        await ready(*many[:2])
        fake.hold()
        await engine.submit_many(many[2:])
        await slurm_waiting.queued(fake, 2)
        await slurm_waiting.polled(fake)
        for name in {one.name for one in fake.submissions}:
            fake.lose(name)
        for launch in many[2:]:
            lost = await told.end_of(launch.key)
            assert isinstance(lost, port.Lost)
            assert "never started" in lost.reason
            # Should its task come up after all, it finds this.
            assert (launch.folder / "start").exists()
        let_go(*many)
        assert slurm_waiting.exits([await told.end_of(one.key) for one in many[:2]]) == [0, 0]
    assert slurm_waiting.runs(*many) == [1, 1, 0, 0]


async def test_what_slurm_refuses_for_good_is_told_with_slurms_words(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting() for _ in range(3)], make_engine()
    fake.refuse()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        for launch in many:
            end = await told.end_of(launch.key)
            assert isinstance(end, port.NotStarted)
            assert end.reason.endswith(fake_slurm.REFUSED_FOR_GOOD)
            assert end.is_permanent
        other = launches.acting()
        await engine.submit_many([other])
        assert (await told.exit_of(other.key)).exit_code == 0
    assert len(slurm_waiting.calls_of(fake, "sbatch")) == 2
    assert slurm_waiting.runs(*many) == [0] * 3


async def test_what_no_node_can_run_is_told_once_the_cluster_has_answered_and_never_sent(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    wide = launches.script("exit 5", resources=Resources(cpus=1000))
    usual, engine = launches.script("exit 7"), make_engine()
    fake.down()
    async with engine_told.running(engine) as told:
        await slurm_waiting.failing(engine)
        await engine.submit_many([wide, usual])
        fake.up()
        refused = await told.end_of(wide.key)
        assert isinstance(refused, port.NotStarted)
        assert "1000 asked" in refused.reason
        assert refused.is_permanent
        assert (await told.exit_of(usual.key)).exit_code == 7
    assert [one.tasks for one in fake.submissions] == [1]
    assert not wide.folder.exists()


async def test_what_slurm_refuses_for_now_is_submitted_later(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting() for _ in range(3)], make_engine()
    fake.refuse(fake_slurm.REFUSED_FOR_NOW)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await slurm_waiting.all_run_once(told, *many)
    assert [one.tasks for one in fake.submissions] == [3]
    assert len(slurm_waiting.calls_of(fake, "sbatch")) == 2


async def test_300_at_once_are_one_submission(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting() for _ in range(300)], make_engine()
    fake.hold()
    async with engine_told.running(engine) as told:
        for first in range(0, 300, 50):
            await engine.submit_many(many[first : first + 50])
        await slurm_waiting.queued(fake, 300)
        await slurm_waiting.polled(fake)
        await engine.cancel_many([one.key for one in many])
        for launch in many:
            assert isinstance(await told.end_of(launch.key), port.Exited)
    (submission,) = fake.submissions
    assert submission.options["array"] == "0-299"


async def test_an_array_whose_folder_is_removed_loses_what_waits_and_nothing_that_runs(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    running, waiting, engine = launches.script(STAY), launches.acting(), make_engine()
    async with started(engine, running) as told:
        fake.hold()
        await engine.submit_many([waiting])
        await slurm_waiting.queued(fake, 1)
        for submission in fake.submissions:
            (folder,) = submission.arguments
            shutil.rmtree(folder)
        fake.release()
        let_go(running)
        assert (await told.exit_of(running.key)).exit_code == 0
        end = await told.end_of(waiting.key)
        assert isinstance(end, port.Lost)
        assert end.reason.startswith("it was never started; Slurm: FAILED")
    assert slurm_waiting.runs(running, waiting) == [1, 0]
