"""The Slurm engine when methods write the records of their attempts.

A method runs as the user who runs the server. It can make nothing of that but its own loss.
"""

import json

import pytest

from dshpc_server.engine import port
from support import engine_launches, engine_told, fake_slurm, slurm_waiting
from support.engine_staying import let_go, places, ready
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

_FORGING = """
    echo run >> "$METHOD_DIR/runs"
    cd "$JOB_WORKSPACE/.."
    rm -rf "$FORGED"
    {make}
    touch "$JOB_WORKSPACE/ready"
    until [ -e "$METHOD_DIR/go" ]; do sleep 0.05; done
    exit 6
"""
_MADE = ['cp "$PARAMS_FILE" FORGED', "mkfifo FORGED", "mkdir FORGED", "ln -s /dev/zero FORGED", ":"]


def _forger(launches: engine_launches.Launches, file: str, make: str) -> port.Launch:
    text = _FORGING.format(make=make).replace("$FORGED", file).replace("FORGED", file)
    return launches.script(text, parameters_json=json.dumps({"name": "another.1", "signal": 9}))


@pytest.mark.parametrize("make", _MADE)
@pytest.mark.parametrize("file", ["exit", "exit.new"])
async def test_a_forged_end_is_replaced_by_that_of_the_wrapper(
    make_engine: MakeEngine, launches: engine_launches.Launches, file: str, make: str
) -> None:
    forging, engine, other = _forger(launches, file, make), make_engine(), make_engine()
    async with engine_told.running(engine) as told, engine_told.running(other) as told_too:
        await engine.submit_many([forging])
        await ready(forging)
        await told.start_of(forging.key)
        await other.recover(places(forging))
        await told_too.start_of(forging.key)
        assert not [*told.ends(forging.key), *told_too.ends(forging.key)]
        let_go(forging)
        assert (await told.exit_of(forging.key)).exit_code == 6
        assert (await told_too.exit_of(forging.key)).exit_code == 6
    assert slurm_waiting.runs(forging) == [1]


@pytest.mark.parametrize("make", _MADE)
async def test_a_forged_start_does_not_have_the_attempt_started_again(
    make_engine: MakeEngine, launches: engine_launches.Launches, make: str
) -> None:
    forging, engine, other = _forger(launches, "start", make), make_engine(), make_engine()
    async with engine_told.running(engine) as told, engine_told.running(other) as told_too:
        await engine.submit_many([forging])
        await ready(forging)
        await other.recover(places(forging))
        await other.submit_many([forging])
        let_go(forging)
        assert (await told.exit_of(forging.key)).exit_code == 6
        assert (await told_too.exit_of(forging.key)).exit_code == 6
    assert slurm_waiting.runs(forging) == [1]


@pytest.mark.parametrize("make", _MADE)
async def test_who_forges_where_it_was_put_is_known_to_its_server_and_lost_to_the_next(
    make_engine: MakeEngine, launches: engine_launches.Launches, make: str
) -> None:
    forging, honest = _forger(launches, "task.json", make), launches.script(STAY)
    engine, other = make_engine(), make_engine()
    async with engine_told.running(engine) as told, engine_told.running(other) as told_too:
        await engine.submit_many([forging, honest])
        await ready(forging, honest)
        await other.recover(places(forging, honest))
        lost = await told_too.end_of(forging.key)
        assert isinstance(lost, port.Lost)
        assert lost.reason == "nothing tells where it was started"
        let_go(forging, honest)
        assert (await told.exit_of(forging.key)).exit_code == 6
        assert (await told_too.exit_of(honest.key)).exit_code == 0
    assert slurm_waiting.runs(forging, honest) == [1, 1]


async def test_a_forged_place_in_the_array_of_another_says_nothing_of_that_other(
    make_engine: MakeEngine, launches: engine_launches.Launches, fake: fake_slurm.FakeSlurm
) -> None:
    honest, forging = launches.script(STAY), launches.script(STAY)
    engine, other = make_engine(), make_engine()
    async with engine_told.running(engine) as told, engine_told.running(other) as told_too:
        await engine.submit_many([honest, forging])
        await ready(honest, forging)
        record = json.loads((forging.folder / "task.json").read_text())
        record["task"] = json.loads((honest.folder / "task.json").read_text())["task"]
        (forging.folder / "task.json").write_text(json.dumps(record))
        await other.recover(places(honest))
        await other.recover(places(forging))
        assert isinstance(await told_too.end_of(forging.key), port.Lost)
        await other.cancel_many([forging.key])
        await slurm_waiting.polled(fake, 3)
        assert not slurm_waiting.calls_of(fake, "scancel")
        let_go(honest, forging)
        for launch in (honest, forging):
            assert (await told.exit_of(launch.key)).exit_code == 0
        assert (await told_too.exit_of(honest.key)).exit_code == 0
    assert slurm_waiting.runs(honest, forging) == [1, 1]
