"""The local engine when methods write the runner's records, and when messages are no messages.

A method runs as the user who runs the server: it can write where the runner writes and kill it.
It can make nothing of that but its own loss.
"""

import asyncio
import json
import pathlib
import socket
import textwrap
from collections.abc import AsyncIterator

import pytest

from dshpc_server.engine import port
from dshpc_server.engine.local import contract, processes, wire
from dshpc_server.engine.local import engine as local
from dshpc_server.engine.local.engine import LocalEngine
from support import engine_launches, engine_leavings, engine_told
from support.engine_local_fixtures import MakeEngine, launches, make_engine, nothing_is_left
from support.engine_staying import CAPACITY, places, ready

__all__ = ["launches", "make_engine", "nothing_is_left"]

UNREADABLE = "the runner that watched it died, and its exit record is unreadable"
EXITED: dict[str, object] = {
    "boot_id": processes.BOOT_ID,
    "fact": "exited",
    "at": 2.0,
    "started_at": 1.0,
    "pid": 1,
    "exit_code": 0,
    "signal": None,
    "cause": "NONE",
}


def _forger(launches: engine_launches.Launches, record: dict[str, object]) -> port.Launch:
    """A method that writes what its parameters are as its end, and kills the runner."""
    # The runner writes its own record meanwhile, that of the process.
    text = """
        until test -e "$JOB_WORKSPACE/../process.json"; do sleep 0.01; done
        cp "$PARAMS_FILE" "$JOB_WORKSPACE/../exit.json"
        kill -9 $PPID
        sleep 600
    """
    return launches.script(textwrap.dedent(text), parameters_json=json.dumps(record))


@pytest.mark.parametrize(
    "record",
    [
        {"boot_id": processes.BOOT_ID},
        {**EXITED, "name": "another.1"},
        {**EXITED, "name": "", "exit_code": "0"},
        # In form, but the record of the process is still there.
        {**EXITED, "name": f"{'method-1':x>64}.1"},
    ],
)
async def test_a_forged_end_is_none_to_this_server_and_the_next(
    make_engine: MakeEngine, launches: engine_launches.Launches, record: dict[str, object]
) -> None:
    forging, other = _forger(launches, record), launches.acting(stdout="the truth")
    assert contract.name_of(forging.key) == f"{'method-1':x>64}.1"
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([forging])
        end = await told.end_of(forging.key)
        assert isinstance(end, port.Lost)
        assert end.reason == UNREADABLE
        assert not engine_leavings.processes_of(forging.folder)
        await engine.submit_many([other])
        assert (await told.exit_of(other.key)).exit_code == 0
    engine = make_engine()
    await engine.recover(places(forging, other))
    async with engine_told.running(engine) as told:
        # The loss is on record now, in the place of what was forged.
        assert await told.end_of(forging.key) == end
        assert (await told.exit_of(other.key)).stdout.read_text() == "the truth"


async def test_an_end_in_the_name_of_another_attempt_is_not_that_ones(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    other = launches.script('touch "$JOB_WORKSPACE/ready"; sleep 600')
    forging = _forger(launches, {**EXITED, "name": contract.name_of(other.key)})
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([other])
        await ready(other)
        await engine.submit_many([forging])
        ends = [await told.end_of(other.key), await told.end_of(forging.key)]
        assert not engine_leavings.processes_of(other.folder)
    # It ran under the runner that was killed, so nobody knows how it would have ended.
    assert [type(end) for end in ends] == [port.Lost, port.Lost]
    assert len(told.ends(other.key)) == 1


async def test_the_runner_drops_orders_that_are_none_and_serves_on(
    make_engine: MakeEngine, launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    launch = launches.acting()
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine_told.eventually(engine.healthy)
        runner_pid = engine.runner_pid
        whole: dict[str, object] = {**contract.job_of(launch, {})}
        refused: list[dict[str, object]] = [{"launch": {**whole, name: None}} for name in whole]
        refused += [
            {"launch": 1},
            {"launch": {**whole, "argv": []}},
            {"launch": {**whole, "env": {}}},
            {"launch": {**whole, "timeout_seconds": float("inf")}},
            {"adopt": [{"name": "a.1", "folder": "/\0"}]},
            {"cancel": [["a.1"]]},
        ]
        await asyncio.to_thread(_say, tmp_path / "engine", refused)
        # These are in form: they fail, and nothing else does.
        await asyncio.to_thread(
            _say,
            tmp_path / "engine",
            [
                {"launch": {**whole, "name": "b.1", "argv": ["\0"], "folder": f"{tmp_path}/b"}},
                {"launch": {**whole, "name": "c.1", "params": "\ud800", "folder": f"{tmp_path}/c"}},
                {"launch": {**whole, "name": "d.1", "cwd": "/none", "folder": f"{tmp_path}/d"}},
                {"launch": {**whole, "name": "e.1", "folder": "/dev/null/e"}},
            ],
        )
        await engine.submit_many([launch])
        assert (await told.exit_of(launch.key)).exit_code == 0
        assert engine.runner_pid == runner_pid
    log = (tmp_path / "engine" / "runner.log").read_text()
    assert log.count("event=refused_order") == len(refused)


@pytest.fixture
async def said(tmp_path: pathlib.Path) -> AsyncIterator[list[list[object]]]:
    """A runner that is none: every connection is told the next of these lines, then cut off."""
    lines: list[list[object]] = []

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for value in lines.pop(0) if len(lines) > 1 else lines[0]:
            writer.write(json.dumps(value).encode() + b"\n")
        writer.close()
        await writer.wait_closed()

    (tmp_path / "engine").mkdir()
    path = tmp_path / "engine" / wire.SOCKET_NAME
    async with await asyncio.start_unix_server(tell, path):
        yield lines
    path.unlink(missing_ok=True)


async def test_the_engine_outlives_whatever_a_runner_says(
    launches: engine_launches.Launches,
    tmp_path: pathlib.Path,
    said: list[list[object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "_LAST_RETRY_SECONDS", 0.1)
    launch = launches.acting()
    hello = {"hello": {"version": wire.VERSION, "pid": 1, "confinement": ""}}
    whole = {**EXITED, "name": contract.name_of(launch.key)}
    said += [
        [],
        [1],
        [{"hello": None}],
        [{"hello": {**hello["hello"], "pid": "1"}}],
        [{"hello": {**hello["hello"], "version": 0}}],
        [hello, []],
        [hello, {"other": 1}],
        [hello, {"facts": 1}],
        [hello, {"facts": [1, None, {}, {"name": []}]}],
        [hello, *({"facts": [{**whole, name: []}]} for name in whole if name != "boot_id")],
        [hello, {"facts": [whole]}],
    ]
    engine = LocalEngine(tmp_path / "engine", capacity=CAPACITY)
    await engine.recover(places(launch))
    async with engine_told.running(engine) as told:
        assert (await told.exit_of(launch.key)).exit_code == 0
    assert len(told.facts) == 1


def _say(folder: pathlib.Path, orders: list[dict[str, object]]) -> None:
    """Send orders to the runner as a peer of its own, and wait until they are taken."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(folder / wire.SOCKET_NAME))
        for order in orders:
            peer.sendall(json.dumps(order).encode() + b"\n")
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(2**16):
            pass
