"""What the runner keeps in its folder: who may look, how deep it may lie, and what is not told."""

import dataclasses
import pathlib
import shutil

import pytest

from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.engine import port
from dshpc_server.engine.local import confinement, processes
from dshpc_server.engine.local.engine import LocalEngine
from support import component, engine_launches, engine_leavings, engine_told
from support.engine_local_fixtures import launches, nothing_is_left
from support.engine_staying import CAPACITY

__all__ = ["launches", "nothing_is_left"]


async def test_a_data_folder_may_be_deep_and_belongs_to_its_owner_alone(
    tmp_path: pathlib.Path, launches: engine_launches.Launches
) -> None:
    folder = tmp_path.joinpath(*["deep" * 20] * 4, "engine")
    launch = launches.acting()
    engine = LocalEngine(folder, capacity=CAPACITY, confinement="none")
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await told.exit_of(launch.key)
        modes = {entry.name: entry.stat().st_mode & 0o777 for entry in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert modes.pop("spares") == 0o700
    assert set(modes.values()) == {0o600}
    await engine_told.eventually(lambda: not (folder / "runner.sock").exists())


async def test_a_runner_whose_folder_was_removed_still_leaves_nothing_behind(
    launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    launch, folder = launches.acting(), tmp_path / "engine"
    engine = LocalEngine(folder, capacity=CAPACITY)
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await told.exit_of(launch.key)
        groups = confinement.group_name(str(folder))
        shutil.rmtree(folder)
    assert not engine_leavings.await_none(tmp_path)
    assert not engine_leavings.groups_named(groups)


async def test_the_runner_log_names_no_parameter_and_no_input(
    launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    hog = launches.script(
        "sleep 600",
        inputs={"canary-input": tmp_path / "canary-file"},
        parameters_json='{"canary": 1}',
        resources=Resources(memory_bytes=2**28),
        timeout_seconds=0.1,
    )
    bad = dataclasses.replace(hog, command=["canary-command"], key=_next(hog.key))
    engine = LocalEngine(tmp_path / "engine", capacity=CAPACITY)
    async with engine_told.running(engine) as told:
        await engine.submit_many([hog, dataclasses.replace(bad, folder=tmp_path / "bad")])
        await told.end_of(hog.key)
        await told.end_of(bad.key)
    text = (tmp_path / "engine" / "runner.log").read_text()
    assert "event=stopped" in text
    assert "canary" not in text


async def test_a_log_that_cannot_be_written_ends_neither_the_runner_nor_what_runs(
    launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "runner.log").symlink_to("/dev/full")
    stopped, other = launches.acting(sleep_seconds=600, timeout_seconds=0.1), launches.acting()
    engine = LocalEngine(tmp_path / "engine", capacity=CAPACITY)
    async with engine_told.running(engine) as told:
        await engine_told.eventually(engine.healthy)
        runner_pid = engine.runner_pid
        await engine.submit_many([stopped, other])
        assert (await told.exit_of(stopped.key)).cause is port.Cause.OVER_TIME
        assert (await told.exit_of(other.key)).exit_code == 0
        assert engine.runner_pid == runner_pid


@pytest.mark.parametrize("kind", ["auto", "none"])
async def test_a_record_that_a_method_spoilt_is_told_as_lost_again_and_again(
    launches: engine_launches.Launches, tmp_path: pathlib.Path, kind: str
) -> None:
    spoiling = launches.script('mkdir "$JOB_WORKSPACE/../exit.json"')
    other = launches.acting()
    for _ in range(2):
        engine = LocalEngine(tmp_path / "engine", capacity=CAPACITY, confinement=kind)
        async with engine_told.running(engine) as told:
            await engine.submit_many([spoiling, other])
            assert isinstance(await told.end_of(spoiling.key), port.Lost)
            assert (await told.exit_of(other.key)).exit_code == 0
    assert engine_launches.runs_of(other) == 1


async def test_groups_that_a_method_makes_in_its_own_hide_nothing(
    launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    hiding = launches.script(
        """
        cd "$JOB_WORKSPACE"
        group=$(sed -n 's/^0:://p' /proc/self/cgroup)
        for mount in /sys/fs/cgroup/unified /sys/fs/cgroup; do
            [ -d "$mount$group" ] && mkdir -p "$mount$group/own/deep" && break
        done
        sh -c 'echo $$ > "$0/cgroup.procs" && echo $$ > child.new && mv child.new child
               exec sleep 600' "$mount$group/own/deep" &
        until [ -e child ]; do sleep 0.01; done
        """
    )
    after = [launches.acting() for _ in range(3)]
    engine = LocalEngine(tmp_path / "engine", capacity=CAPACITY)
    async with engine_told.running(engine) as told:
        await engine_told.eventually(engine.healthy)
        component.require("cgroups", present="tree=cgroup-v2" in engine.confinement)
        await engine.submit_many([hiding])
        assert (await told.exit_of(hiding.key)).exit_code == 0
        assert processes.look_up(int((hiding.folder / "workspace" / "child").read_text())) is None
        await engine.submit_many(after)
        assert {(await told.exit_of(one.key)).exit_code for one in after} == {0}


def _next(key: AttemptKey) -> AttemptKey:
    return AttemptKey(job_id=key.job_id, number=key.number + 1)
