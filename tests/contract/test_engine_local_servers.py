"""The local engine of several servers on one node: one runner, each attempt started once, all told.

A server that dies is an engine whose `run` ended: the system closes its connection as it closes a
dead process's.
"""

import contextlib
import pathlib
import platform
import socket

import pytest

from contract import engine_servers_suite
from dshpc_server.engine import port
from dshpc_server.engine.local import contract, wire
from dshpc_server.engine.local import engine as local
from support import engine_launches, engine_leavings, engine_told
from support.engine_local_fixtures import MakeEngine, launches, make_engine, nothing_is_left
from support.engine_staying import STAY, kill_runner, places, ready

__all__ = ["launches", "make_engine", "nothing_is_left"]


class TestLocalServers(engine_servers_suite.EngineServersSuite):
    exit_record = "exit.json"

    def assert_same_loss(self, lost: port.Lost, late: port.Lost) -> None:
        assert late == lost


def test_servers_of_a_node_have_one_scope_and_one_folder_and_those_of_others_do_not(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, engine = local.folder_name(), make_engine()
    assert engine.scope == make_engine().scope == f"local/{here}"
    monkeypatch.setattr(platform, "node", lambda: "../other node")
    assert local.folder_name() == "_other_node"
    assert make_engine().scope == "local/_other_node"
    monkeypatch.setattr(platform, "node", lambda: "..")
    assert local.folder_name() == "node"


async def test_servers_that_start_at_one_instant_share_one_runner(
    make_engine: MakeEngine, launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    for is_killed in (True, False):  # the second time there is the socket of a dead runner
        engines = [make_engine() for _ in range(4)]
        async with contextlib.AsyncExitStack() as stack:
            told = [await stack.enter_async_context(engine_told.running(one)) for one in engines]
            for number, engine in enumerate(engines):
                launch = launches.acting()
                await engine.submit_many([launch])
                assert (await told[number].exit_of(launch.key)).exit_code == 0
            assert len({engine.runner_pid for engine in engines}) == 1
            assert len(_runners(tmp_path)) == 1
            if is_killed:
                kill_runner(engines[0])
        assert not engine_leavings.await_none(tmp_path)


async def test_the_runner_stays_while_anybody_is_connected_and_ends_with_the_last(
    make_engine: MakeEngine, launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    first, second = make_engine(), make_engine()
    launch = launches.acting()
    async with engine_told.running(second) as told:
        async with engine_told.running(first):
            await engine_told.eventually(lambda: first.healthy() and second.healthy())
            runner_pid = first.runner_pid
        await second.submit_many([launch])
        await told.exit_of(launch.key)
        assert second.runner_pid == runner_pid
        assert _runners(tmp_path) == {runner_pid}
    await engine_told.eventually(lambda: not _runners(tmp_path))


async def test_servers_of_a_killed_runner_meet_at_a_new_one_and_are_told_the_same_ends(
    make_engine: MakeEngine, launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    runs, ended = [launches.script(STAY) for _ in range(5)], launches.acting(exit_code=3)
    first, second = make_engine(), make_engine()
    async with engine_told.running(first) as told, engine_told.running(second) as told_too:
        await first.submit_many([*runs, ended])
        await ready(*runs)
        await told.exit_of(ended.key)
        await second.recover(places(*runs))
        for launch in runs:
            await told_too.start_of(launch.key)
        killed = kill_runner(first)
        ends = {one.key: await told.end_of(one.key) for one in runs}
        assert ends == {one.key: await told_too.end_of(one.key) for one in runs}
        assert {type(end) for end in ends.values()} == {port.Lost}
        await engine_told.eventually(lambda: first.healthy() and second.healthy())
        assert first.runner_pid == second.runner_pid != killed
        assert _runners(tmp_path) == {first.runner_pid}
        # Whoever comes late reads the same record.
        late = make_engine()
        await late.recover(places(*runs, ended))
        async with engine_told.running(late) as told_late:
            assert {one.key: await told_late.end_of(one.key) for one in runs} == ends
            assert (await told_late.exit_of(ended.key)).exit_code == 3
    assert [engine_launches.runs_of(one) for one in runs] == [1] * 5


async def test_the_last_order_of_a_dead_server_is_obeyed_or_never_will_be(
    make_engine: MakeEngine, launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    many = [launches.acting() for _ in range(20)]
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine_told.eventually(engine.healthy)
        for launch in many:
            _send_and_die(tmp_path / "engine", launch)
            await engine.recover(places(launch))
        ends = [await told.end_of(launch.key) for launch in many]
    runs = [engine_launches.runs_of(launch) for launch in many]
    assert runs == [isinstance(end, port.Exited) for end in ends]


def _runners(folder: pathlib.Path) -> set[int]:
    """The runners of the engine below this folder; no method runs."""
    return engine_leavings.processes_of(folder)


def _send_and_die(folder: pathlib.Path, launch: port.Launch) -> None:
    """Order a launch as a server does whose death comes right after."""
    order: wire.Order = {"launch": contract.job_of(launch, {})}
    with socket.socket(socket.AF_UNIX) as peer, contextlib.chdir(folder):
        peer.connect(wire.SOCKET_NAME)
        peer.sendall(wire.line(order))
