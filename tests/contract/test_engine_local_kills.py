"""kill -9 of the runner, alone or with its server, at any moment: all that is left is ended, told.

Real processes throughout: what a runner leaves at each moment is brought about as it would be, or
taken away afterwards where the moment itself is too short to hit.
"""

import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator

import pytest

from dshpc_server.engine import port
from dshpc_server.engine.local import contract, processes
from dshpc_server.engine.local.engine import LocalEngine
from support import engine_launches, engine_leavings, engine_told
from support.engine_local_fixtures import MakeEngine, launches, make_engine, nothing_is_left
from support.engine_staying import STAY, kill_runner, let_go, places, ready

__all__ = ["launches", "make_engine", "nothing_is_left"]

Stand = Callable[[], Awaitable[None]]
DIED = "the runner that watched it died, and no exit is on record"
FAMILY = """
    cd "$JOB_WORKSPACE"
    stay='trap "" TERM HUP; echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 600'
    sh -c "$stay" plain &
    setsid sh -c "$stay" session &
    (setsid sh -c '(sh -c "$1" "$0" &) &' twice "$stay" &)
    setsid env -i "PATH=$PATH" sh -c "$stay" hidden &
    until [ -e plain ] && [ -e session ] && [ -e twice ] && [ -e hidden ]; do sleep 0.01; done
    touch ready
"""
"""Children in the session, out of it, forked twice, and one that hides its mark from /proc."""
MEMBERS = {
    "stays": ("plain", "session", "twice", "hidden"),
    # Without its parent, nothing tells any more whose the hidden one is, but its control group.
    "has ended": ("plain", "session", "twice"),
    "has hidden its mark": ("plain", "session", "twice", "hidden"),
}
FORKING = """
    cd "$JOB_WORKSPACE"
    for n in 1 2 3; do
        (setsid sh -c 'while :; do (sh -c "sleep 0.01; exec sleep 600" &); sleep 0.02; done' &)
    done
    touch ready
    while :; do (setsid sh -c 'true; exec sleep 600' &); sleep 0.01; done
"""
"""Forks without an end, in and out of its session."""
HOLD_THE_RUNNER = 'until [ -e "$METHOD_DIR/go" ]; do sleep 0.01; done; kill -STOP $PPID'
"""Only when it is let go: a runner that is held before it has told the start tells nothing."""
HOPPING = """
    cd "$JOB_WORKSPACE"
    cat > hop <<'END'
    [ "$1" -gt 20 ] && touch "$JOB_WORKSPACE/ready"
    setsid sh "$JOB_WORKSPACE/hop" $(($1 + 1)) &
END
    setsid sh hop 0 &
    sleep 600
"""
"""A process that gives way to its child again and again, so that it is never seen for long."""


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own session, as a method's; it must live."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        yield child
        assert child.poll() is None
        child.kill()


@pytest.mark.parametrize("with_server", [False, True])
@pytest.mark.parametrize("main", ["stays", "has ended", "has hidden its mark"])
async def test_a_whole_family_is_ended(
    make_engine: MakeEngine, launches: engine_launches.Launches, main: str, *, with_server: bool
) -> None:
    last = {
        "stays": "sleep 600; true",
        # The runner would end the others at once, so it is held until it is killed.
        "has ended": f"{HOLD_THE_RUNNER}; kill -9 $$",
        "has hidden its mark": "exec env -i sleep 600",
    }[main]
    launch = launches.script(f"{FAMILY}\n{last}")

    async def stand() -> None:
        await ready(launch)
        if main == "has ended":
            await _let_end(launch)

    lost = await _lost(make_engine, launch, stand, with_server=with_server)
    workspace = launch.folder / "workspace"
    members = [int((workspace / name).read_text()) for name in MEMBERS[main]]
    assert not [pid for pid in members if processes.look_up(pid)]
    assert lost.reason == DIED


@pytest.mark.parametrize("script", [FORKING, HOPPING])
@pytest.mark.parametrize("with_server", [False, True])
async def test_a_tree_that_forks_meanwhile_is_ended(
    make_engine: MakeEngine, launches: engine_launches.Launches, script: str, *, with_server: bool
) -> None:
    launch = launches.script(script)
    lost = await _lost(make_engine, launch, lambda: ready(launch), with_server=with_server)
    assert lost.reason == DIED


@pytest.mark.parametrize("record", [None, "", "{", '{"boot_id"'])
async def test_an_attempt_whose_process_record_is_missing_or_torn_is_found_by_its_mark(
    make_engine: MakeEngine, launches: engine_launches.Launches, record: str | None
) -> None:
    launch = launches.script(STAY)

    async def without_record() -> None:
        await ready(launch)
        path = launch.folder / "process.json"
        path.unlink()
        if record is not None:
            path.write_text(record)

    lost = await _lost(make_engine, launch, without_record, with_server=True)
    assert lost.reason == DIED
    assert engine_launches.runs_of(launch) == 1


async def test_an_attempt_whose_files_were_made_and_no_process_is_lost_and_not_started(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.acting()
    launch.folder.mkdir(parents=True)
    for name in ("params.json", "stdout", "stderr"):
        (launch.folder / name).touch()
    for _ in range(2):
        engine = make_engine()
        await engine.submit_many([launch])
        async with engine_told.running(engine) as told:
            end = await told.end_of(launch.key)
        assert isinstance(end, port.Lost)
        assert end.reason == DIED
    assert engine_launches.runs_of(launch) == 0


@pytest.mark.parametrize("with_server", [False, True])
async def test_an_exit_that_was_not_put_on_record_is_lost(
    make_engine: MakeEngine, launches: engine_launches.Launches, *, with_server: bool
) -> None:
    # The method holds its runner and ends: a zombie, of which nobody learns the exit code.
    launch = launches.script(f"{HOLD_THE_RUNNER}; exit 0")
    lost = await _lost(make_engine, launch, lambda: _let_end(launch), with_server=with_server)
    assert lost.reason == DIED


async def test_after_a_reboot_attempts_are_lost_and_who_has_their_numbers_now_lives_on(
    make_engine: MakeEngine,
    launches: engine_launches.Launches,
    innocent: subprocess.Popen[bytes],
) -> None:
    launch = launches.script(STAY)
    _leave_a_record(launch, innocent, boot_id="00000000-0000-0000-0000-000000000000")
    await _is_lost(make_engine(), launch)
    assert processes.look_up(innocent.pid) is not None


async def test_a_number_that_was_given_to_another_process_names_nobody(
    make_engine: MakeEngine,
    launches: engine_launches.Launches,
    innocent: subprocess.Popen[bytes],
) -> None:
    launch = launches.script(STAY)
    _leave_a_record(launch, innocent, boot_id=processes.BOOT_ID, earlier_by=1)
    await _is_lost(make_engine(), launch)
    assert processes.look_up(innocent.pid) is not None


async def test_a_runner_killed_at_any_moment_of_many_starts_and_ends_leaves_each_told_once(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    for passed in range(0, 40, 8):
        many = [
            launches.script(
                'echo run >> "$METHOD_DIR/runs"; (setsid sleep 600 &); sleep 0.0$((RANDOM % 5))'
            )
            for _ in range(10)
        ]
        engine = make_engine()
        async with engine_told.running(engine) as told:
            await engine_told.eventually(engine.healthy)
            await engine.submit_many(many)
            await engine_told.eventually(lambda n=passed: len(told.facts) * 2 >= n)  # type: ignore[misc]  # bound now
            kill_runner(engine)
        known = {one.key: told.ends(one.key) for one in many if told.ends(one.key)}
        engine = make_engine()
        await engine.recover(places(*many))
        async with engine_told.running(engine) as told:
            ends = {one.key: await told.end_of(one.key) for one in many}
            assert not [pid for one in many for pid in engine_leavings.processes_of(one.folder)]
        assert {key: [ends[key]] for key in known} == known
        runs = [engine_launches.runs_of(one) for one in many]
        assert max(runs) <= 1
        assert all(
            run == 1
            for run, one in zip(runs, many, strict=True)
            if isinstance(ends[one.key], port.Exited)
        )


async def _lost(
    make_engine: MakeEngine, launch: port.Launch, stand: Stand, *, with_server: bool
) -> port.Lost:
    """Start it, let it stand, kill its runner (and the server); what is told when nothing lives."""
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await told.start_of(launch.key)
        await stand()
        kill_runner(engine)
        if not with_server:
            return await _ended(told, launch)
    engine = make_engine()
    await engine.recover(places(launch))
    async with engine_told.running(engine) as told:
        return await _ended(told, launch)


async def _let_end(launch: port.Launch) -> None:
    """Have a method hold its runner and end."""
    let_go(launch)
    pid = json.loads((launch.folder / "process.json").read_text())["pid"]
    await engine_told.eventually(lambda: processes.look_up(pid) is None)


async def _ended(told: engine_told.Told, launch: port.Launch) -> port.Lost:
    end = await told.end_of(launch.key)
    assert not engine_leavings.processes_of(launch.folder)
    assert isinstance(end, port.Lost)
    return end


async def _is_lost(engine: LocalEngine, launch: port.Launch) -> None:
    await engine.recover(places(launch))
    async with engine_told.running(engine) as told:
        assert (await _ended(told, launch)).reason == DIED


def _leave_a_record(
    launch: port.Launch, of: subprocess.Popen[bytes], *, boot_id: str, earlier_by: int = 0
) -> None:
    """Leave what a runner leaves of an attempt that runs, with the number of this process."""
    start_time = processes.start_time(of.pid)
    assert start_time is not None
    start_time -= earlier_by
    launch.folder.mkdir(parents=True)
    (launch.folder / "stdout").touch()
    record = {
        "boot_id": boot_id,
        "name": contract.name_of(launch.key),
        "pid": of.pid,
        "start_time": {"from": start_time, "to": start_time},
    }
    (launch.folder / "process.json").write_text(json.dumps(record))
