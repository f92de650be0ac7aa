"""What every engine promises (`engine.port`): one suite over the scripted engine and real ones.

A module that tests an adapter derives `TestX(EngineSuite)` and provides the fixture `engine`.
"""

import asyncio
import dataclasses
import pathlib
import signal

import pytest

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port
from support import engine_launches, engine_told


class EngineSuite:
    """Every test runs one engine."""

    @pytest.fixture
    def launches(self, tmp_path: pathlib.Path) -> engine_launches.Launches:
        return engine_launches.Launches(tmp_path / "site")

    async def test_each_exit_code_is_told_as_it_is(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        wanted = {code: launches.acting(exit_code=code) for code in (0, 1, 75, 78, 255)}
        async with engine_told.running(engine) as told:
            await engine.submit_many(list(wanted.values()))
            exits = {code: await told.exit_of(launch.key) for code, launch in wanted.items()}
        assert {code: end.exit_code for code, end in exits.items()} == {c: c for c in wanted}
        assert {(end.signal, end.cause) for end in exits.values()} == {(None, port.Cause.NONE)}

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
    async def test_a_method_that_a_signal_ends_is_told_with_the_signal(
        self, engine: port.Engine, launches: engine_launches.Launches, number: signal.Signals
    ) -> None:
        launch = launches.acting(signal=number)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            end = await told.exit_of(launch.key)
        assert (end.exit_code, end.signal, end.cause) == (None, number, port.Cause.NONE)

    async def test_the_start_is_told_before_the_end_and_names_the_same_process(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting()
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            end = await told.exit_of(launch.key)
        start, last = told.of(launch.key)
        assert isinstance(start, port.Started)
        assert last is end
        assert (start.engine_job_id, start.node) == (end.engine_job_id, end.node)
        assert start.at == end.started_at <= end.at

    async def test_stdout_and_stderr_are_kept_apart(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(stdout="the output", stderr="the log")
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            end = await told.exit_of(launch.key)
        assert end.stdout.read_text() == "the output"
        assert end.stderr.read_text() == "the log"

    async def test_an_attempt_over_its_time_is_ended(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(sleep_seconds=600, timeout_seconds=0.3)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            end = await told.exit_of(launch.key)
        assert (end.signal, end.cause) == (signal.SIGKILL, port.Cause.OVER_TIME)

    async def test_a_cancelled_attempt_is_ended(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(sleep_seconds=600)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            await told.start_of(launch.key)
            await engine.cancel_many([launch.key])
            end = await told.exit_of(launch.key)
        assert (end.signal, end.cause) == (signal.SIGKILL, port.Cause.CANCELLED)

    async def test_cancelling_what_is_unknown_or_has_ended_changes_nothing(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        ended, other = launches.acting(), launches.acting()
        async with engine_told.running(engine) as told:
            await engine.submit_many([ended])
            await told.exit_of(ended.key)
            await engine.cancel_many([ended.key, AttemptKey(job_id="f" * 64, number=7)])
            await engine.submit_many([other])
            await told.exit_of(other.key)
        assert [end.key for end in told.facts if isinstance(end, port.Exited)] == [
            ended.key,
            other.key,
        ]

    async def test_an_attempt_submitted_twice_is_started_once(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(sleep_seconds=0.2)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch, launch])
            await told.start_of(launch.key)
            await engine.submit_many([launch])
            await told.exit_of(launch.key)
        assert len(told.ends(launch.key)) == 1
        assert engine_launches.runs_of(launch) == 1

    async def test_an_attempt_that_has_ended_is_not_run_again_but_its_end_is_told_again(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(exit_code=4)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            first = await told.exit_of(launch.key)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            assert await told.exit_of(launch.key) == first
        assert engine_launches.runs_of(launch) == 1

    async def test_another_attempt_of_the_job_runs_anew(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        first = launches.acting()
        second = dataclasses.replace(
            first,
            key=AttemptKey(job_id=first.key.job_id, number=2),
            folder=first.folder.with_name("2"),
        )
        async with engine_told.running(engine) as told:
            await engine.submit_many([first])
            await told.exit_of(first.key)
            await engine.submit_many([second])
            await told.exit_of(second.key)
        assert engine_launches.runs_of(first) == 2

    async def test_recovering_what_is_watched_changes_nothing(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(sleep_seconds=0.3)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            await engine.recover([(launch.key, launch.folder)])
            await told.start_of(launch.key)
            await engine.recover([(launch.key, launch.folder)])
            await told.exit_of(launch.key)
        assert [type(fact) for fact in told.facts] == [port.Started, port.Exited]
        assert engine_launches.runs_of(launch) == 1

    async def test_an_end_is_told_again_to_who_recovers_the_attempt(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(exit_code=4)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            first = await told.exit_of(launch.key)
            await engine.recover([(launch.key, launch.folder)])
            await engine_told.eventually(lambda: len(told.ends(launch.key)) == 2)
        assert told.ends(launch.key) == [first, first]
        assert engine_launches.runs_of(launch) == 1

    async def test_a_forgotten_attempt_runs_on_and_nothing_is_told_of_it(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        forgotten, other = launches.acting(sleep_seconds=0.2), launches.acting(sleep_seconds=0.6)
        async with engine_told.running(engine) as told:
            await engine.submit_many([forgotten, other])
            await told.start_of(forgotten.key)
            await engine.forget([forgotten.key, AttemptKey(job_id="f" * 64, number=7)])
            await engine.cancel_many([forgotten.key])
            await told.exit_of(other.key)
            assert not told.ends(forgotten.key)
            await engine.recover([(forgotten.key, forgotten.folder)])
            end = await told.exit_of(forgotten.key)
        assert (end.exit_code, end.cause) == (0, port.Cause.NONE)
        assert engine_launches.runs_of(forgotten) == 1

    async def test_a_forgotten_attempt_can_be_taken_up_while_it_runs(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.acting(sleep_seconds=600)
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            start = await told.start_of(launch.key)
            await engine.forget([launch.key])
            await engine.recover([(launch.key, launch.folder)])
            await engine_told.eventually(lambda: len(told.starts(launch.key)) == 2)
            await engine.cancel_many([launch.key])
            await told.exit_of(launch.key)
        assert told.starts(launch.key) == [start, start]

    async def test_many_at_once_all_end_each_once(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        many = [launches.acting(stdout=str(number)) for number in range(20)]
        async with engine_told.running(engine) as told:
            await engine.submit_many(many)
            ends = await asyncio.gather(*(told.exit_of(launch.key) for launch in many))
        assert [end.stdout.read_text() for end in ends] == [str(n) for n in range(20)]
        assert len(told.facts) == 40
