"""The Slurm engine where Slurm answers late, has no room, or was started a moment ago.

Answers that are older than a submission, queues that are full and controllers that may have
forgotten: whoever is cancelled is told so, and all others run once.
"""

import asyncio
import signal
from collections.abc import Sequence

import pytest

from dshpc_server.engine import port
from dshpc_server.engine.slurm import cluster, command_line, facts, submitting
from support import engine_launches, engine_told, fake_slurm, slurm_engines, slurm_waiting
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]


class _Gated(command_line.CommandLine):
    """Sends, and tells what Slurm has answered, when the test lets it."""

    def __init__(self, fake: fake_slurm.FakeSlurm) -> None:
        super().__init__(environment=fake.environment, timeouts=slurm_engines.TIMEOUTS)
        self.may_send = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.sending = 0
        self.answers = 0
        """Those that are kept back."""

    async def submit(self, array: cluster.Array) -> str:
        self.sending += 1
        await self.may_send.wait()
        return await super().submit(array)

    async def tasks(self, *, ended: bool) -> Sequence[cluster.Task]:
        told = await super().tasks(ended=ended)
        if not self.may_answer.is_set():
            self.answers += 1
            await self.may_answer.wait()
        return told


class _Full(command_line.CommandLine):
    """Refuses for the moment what it is given, so often."""

    def __init__(self, fake: fake_slurm.FakeSlurm, *, times: int, is_too_large: bool) -> None:
        super().__init__(environment=fake.environment, timeouts=slurm_engines.TIMEOUTS)
        self.times = times
        self.sizes: list[int] = []
        """Of what it was given."""
        self.may_answer = asyncio.Event()
        self._is_too_large = is_too_large

    async def submit(self, array: cluster.Array) -> str:
        self.sizes.append(array.tasks)
        await self.may_answer.wait()
        if self.times > 0:
            self.times -= 1
            raise cluster.RefusedError(
                "not now", is_permanent=False, is_too_large=self._is_too_large
            )
        return await super().submit(array)


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused is tried again soon."""
    monkeypatch.setattr(submitting, "_RETRY_SECONDS", 0.05)


async def test_who_is_cancelled_while_it_is_sent_is_though_slurms_answer_is_from_before(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, asked = launches.acting(), _Gated(fake)
    engine = make_engine(asked=asked)
    fake.hold()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await engine_told.eventually(lambda: asked.sending == 1)
        asked.may_answer.clear()
        await engine.cancel_many([launch.key])
        # Who looks has asked by now, and who stops.
        await engine_told.eventually(lambda: asked.answers == 2)
        asked.may_send.set()
        await engine_told.eventually(lambda: bool(engine.waiting(launch.key).engine_job_id))
        asked.may_answer.set()
        end = await told.exit_of(launch.key)
        assert (end.cause, end.signal, end.note) == (port.Cause.CANCELLED, signal.SIGKILL, "")
        assert len(slurm_waiting.calls_of(fake, "scancel")) == 1
        assert not slurm_waiting.in_state(fake, "PENDING")
    assert slurm_waiting.runs(launch) == [0]


async def test_who_is_cancelled_while_slurm_refuses_it_is_told_so_though_the_refusals_go_on(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, other = launches.acting(), launches.acting()
    asked = _Full(fake, times=10**9, is_too_large=False)
    engine = make_engine(asked=asked)
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch, other])
        await engine_told.eventually(lambda: asked.sizes == [2])
        await engine.cancel_many([launch.key])
        asked.may_answer.set()
        end = await told.exit_of(launch.key)
        assert (end.cause, end.signal, end.note) == (port.Cause.CANCELLED, signal.SIGKILL, "")
        assert asked.times > 0
        assert not told.ends(other.key)
        asked.times = 0
        await slurm_waiting.all_run_once(told, other)
    assert [one.tasks for one in fake.submissions] == [1]
    assert slurm_waiting.runs(launch) == [0]


async def test_where_so_many_find_no_room_arrays_get_smaller_and_grow_as_they_are_taken(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, more = [launches.acting() for _ in range(8)], [launches.acting() for _ in range(8)]
    asked = _Full(fake, times=2, is_too_large=True)
    asked.may_answer.set()
    engine = make_engine(asked=asked)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await slurm_waiting.all_run_once(told, *many)
        assert asked.sizes == [8, 4, 2, 4, 2]
        await engine.submit_many(more)
        await slurm_waiting.all_run_once(told, *more)
    assert [one.tasks for one in fake.submissions] == [2, 4, 2, 8]


@pytest.mark.parametrize("fake", [{"max_job_count": 10, "min_job_age_seconds": 0}], indirect=True)
async def test_a_queue_is_filled_to_the_last_place_that_slurm_gives_and_the_rest_runs_later(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting() for _ in range(12)], make_engine()
    fake.hold()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await slurm_waiting.queued(fake, 9)
        assert not told.facts
        fake.release()
        await slurm_waiting.all_run_once(told, *many)
    assert sum(one.tasks for one in fake.submissions) == 12


async def test_what_is_cancelled_alone_under_a_young_controller_is_not_taken_for_forgotten(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, others = launches.acting(), [launches.acting() for _ in range(2)]
    async with slurm_waiting.held(fake, make_engine(), launch, *others) as told:
        (submission,) = fake.submissions
        fake.end(f"{submission.id}_0", "CANCELLED")
        end = await told.end_of(launch.key)
        assert isinstance(end, port.Exited), end
        assert (end.cause, end.note, end.signal) == (port.Cause.CANCELLED, facts.OUTSIDE, 9)
        fake.release()
        await slurm_waiting.all_run_once(told, *others)
    assert slurm_waiting.runs(launch) == [0]
