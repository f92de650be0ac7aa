"""How often Slurm is asked: less and less, never by a client, and seldom when it answers slowly."""

from collections.abc import Sequence

from dshpc_server.engine import port
from dshpc_server.engine.slurm import cluster, command_line, looking, verdict
from support import (
    engine_launches,
    engine_told,
    fake_slurm,
    slurm_engines,
    slurm_hands,
    slurm_waiting,
)
from support.engine_staying import let_go, started
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

LONG = verdict.Patience(
    grace_seconds=60.0, doubt_seconds=60.0, settle_seconds=60.0, alive_seconds=60.0
)
"""Longer than a test: what is told in it was not told because somebody lost patience."""


async def test_nobody_who_asks_for_reasons_or_capacity_causes_a_question_to_slurm(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.acting(), make_engine(pace=looking.Pace(first_seconds=3600.0))
    fake.hold()
    async with engine_told.running(engine):
        await engine.submit_many([launch])
        await engine_told.eventually(lambda: "waits in Slurm" in engine.waiting(launch.key).why)
        await slurm_waiting.queued(fake, 1)
        await engine_told.eventually(lambda: fake.polls >= 2)
        before = fake.calls
        for _ in range(1000):
            assert "waits in Slurm" in engine.waiting(launch.key).why
            assert engine.capacity().cpus == 64
            assert engine.healthy()
        # What they had asked for would be here before what a submission asks for.
        await engine.submit_many([launches.acting()])
        await slurm_waiting.queued(fake, 2)
        programs = [call[0] for call in fake.calls[len(before) :]]
    assert programs in (["sbatch"], ["sbatch", "squeue"])


class _Slow(command_line.CommandLine):
    """Slurm's commands; squeue's answers take so long by these hands."""

    def __init__(
        self, fake: fake_slurm.FakeSlurm, hands: slurm_hands.Hands, *, answer_seconds: float
    ) -> None:
        super().__init__(environment=fake.environment, timeouts=slurm_engines.TIMEOUTS)
        self._hands = hands
        self._answer_seconds = answer_seconds

    async def tasks(self, *, ended: bool) -> Sequence[cluster.Task]:
        told = await super().tasks(ended=ended)
        self._hands.move(self._answer_seconds)
        return told


async def test_slurm_is_asked_less_and_less_while_nothing_changes_and_at_once_when_it_does(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    hands = slurm_hands.Hands()
    engine = make_engine(clock=hands, pace=slurm_hands.PACE, patience=LONG)
    fake.hold()
    async with engine_told.running(engine):
        await engine.submit_many([launches.acting()])
        await slurm_waiting.queued(fake, 1)
        await hands.let_pass(60)
        before = fake.polls
        await hands.let_pass(120)
        assert 4 <= fake.polls - before <= 5
        before = fake.polls
        await engine.submit_many([launches.acting()])
        await slurm_waiting.polled(fake, 1)
        await slurm_waiting.queued(fake, 2)
        await hands.let_pass(120)
        assert 7 <= fake.polls - before <= 11


async def test_a_controller_that_answers_slowly_is_asked_for_a_tenth_of_the_time(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, hands = launches.script(STAY), slurm_hands.Hands()
    slow = _Slow(fake, hands, answer_seconds=2.0)
    engine = make_engine(clock=hands, asked=slow, pace=slurm_hands.PACE, patience=LONG)
    async with started(engine, launch) as told:
        fake.suspend(slurm_waiting.task_id(launch))
        while not any(isinstance(fact, port.Suspended) for fact in told.of(launch.key)):
            await hands.let_pass(1)
        # That is news, so it would be asked again in a second.
        before = fake.polls
        await hands.let_pass(17)
        assert fake.polls == before
        await hands.let_pass(1)
        await engine_told.eventually(lambda: fake.polls == before + 1)
        fake.resume(slurm_waiting.task_id(launch))
        let_go(launch)
        assert (await told.exit_of(launch.key)).exit_code == 0
