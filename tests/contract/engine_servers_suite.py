"""What an engine promises to several servers of one deployment: each attempt runs once, all told.

A module that tests an engine derives `TestX(EngineServersSuite)` and provides the fixtures
`make_engine`, which makes each server's engine over one folder, and `launches`. A server that dies
is an engine whose `run` ended, wherever it was.
"""

import asyncio
import dataclasses
import pathlib
from collections.abc import Callable
from typing import ClassVar

from dshpc_server.engine import port
from support import engine_launches, engine_told
from support.engine_staying import STAY, let_go, places, started

MakeEngine = Callable[[], port.Engine]


class EngineServersSuite:
    """Every test runs the engines of two servers."""

    exit_record: ClassVar[str]
    """The file in an attempt's folder that says how it ended."""

    async def test_attempts_of_a_dead_server_go_on_with_the_one_that_takes_them_over(
        self, make_engine: MakeEngine, launches: engine_launches.Launches
    ) -> None:
        runs, other = [launches.script(STAY) for _ in range(3)], make_engine()
        async with engine_told.running(other) as told:
            async with started(make_engine(), *runs) as first:
                starts = [await first.start_of(one.key) for one in runs]
            await other.recover(places(*runs))
            assert [await told.start_of(one.key) for one in runs] == starts
            let_go(*runs)
            ends = [await told.exit_of(one.key) for one in runs]
        assert [end.stdout.read_text() for end in ends] == ["done\n"] * 3
        assert [engine_launches.runs_of(one) for one in runs] == [1] * 3

    async def test_an_end_between_a_servers_death_and_the_taking_over_is_told(
        self, make_engine: MakeEngine, launches: engine_launches.Launches
    ) -> None:
        launch, other = launches.script(STAY), make_engine()
        async with engine_told.running(other) as told:
            async with started(make_engine(), launch):
                pass
            let_go(launch)
            await engine_told.eventually(self._exit_record(launch).exists)
            assert not told.facts
            await other.recover(places(launch))
            assert (await told.exit_of(launch.key)).exit_code == 0

    async def test_attempts_that_two_servers_submit_at_one_instant_run_once(
        self, make_engine: MakeEngine, launches: engine_launches.Launches
    ) -> None:
        many = [launches.acting(exit_code=7) for _ in range(20)]
        first, second = make_engine(), make_engine()
        async with engine_told.running(first) as told, engine_told.running(second) as told_too:
            await engine_told.eventually(lambda: first.healthy() and second.healthy())
            await asyncio.gather(first.submit_many(many), second.submit_many(many[::-1]))
            for launch in many:
                end, same = await told.exit_of(launch.key), await told_too.exit_of(launch.key)
                # Where they waited in a queue it was since each was sent.
                assert dataclasses.replace(end, usage=same.usage) == same
        assert [engine_launches.runs_of(launch) for launch in many] == [1] * 20

    async def test_a_server_cancels_what_another_submitted_and_both_are_told_the_same(
        self, make_engine: MakeEngine, launches: engine_launches.Launches
    ) -> None:
        launch, other = launches.script(STAY), make_engine()
        async with engine_told.running(other) as told, started(make_engine(), launch) as first:
            await other.recover(places(launch))
            await other.cancel_many([launch.key])
            end, same = await told.exit_of(launch.key), await first.exit_of(launch.key)
            assert dataclasses.replace(end, usage=same.usage) == same
        assert (end.cause, end.note) == (port.Cause.CANCELLED, "")
        assert engine_launches.runs_of(launch) == 1

    async def test_a_server_that_forgot_an_attempt_is_told_nothing_and_the_new_owner_is(
        self, make_engine: MakeEngine, launches: engine_launches.Launches
    ) -> None:
        launch, fenced, owner = launches.script(STAY), make_engine(), make_engine()
        async with engine_told.running(owner) as told, started(fenced, launch) as first:
            await fenced.forget([launch.key])
            await owner.recover(places(launch))
            await told.start_of(launch.key)
            let_go(launch)
            await told.exit_of(launch.key)
            # A later fact of another attempt: what was told of the first would be here by now.
            later = launches.acting()
            await fenced.submit_many([later])
            await first.exit_of(later.key)
            assert not first.ends(launch.key)

    async def test_an_attempt_that_was_told_to_be_lost_is_not_started_by_a_late_order(
        self, make_engine: MakeEngine, launches: engine_launches.Launches
    ) -> None:
        launch, other = launches.acting(), launches.acting()
        first, second = make_engine(), make_engine()
        async with engine_told.running(first) as told, engine_told.running(second) as told_too:
            await second.recover(places(launch))
            lost = await told_too.end_of(launch.key)
            assert isinstance(lost, port.Lost)
            # The first one has read by then what was told to both.
            await first.submit_many([other])
            await told.exit_of(other.key)
            await first.submit_many([launch])
            late = await told.end_of(launch.key)
        assert isinstance(late, port.Lost)
        self.assert_same_loss(lost, late)
        assert engine_launches.runs_of(launch) == 0

    def assert_same_loss(self, lost: port.Lost, late: port.Lost) -> None:
        """Both were told of an attempt: by whoever closed it, and by the server that came late."""
        assert late.key == lost.key

    def _exit_record(self, launch: port.Launch) -> pathlib.Path:
        return launch.folder / self.exit_record
