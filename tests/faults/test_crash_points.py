"""A server, or its runner, that is killed at any named moment: the next one ends everything well.

The moments are those of `dshpc_server.crashing`, so a new one is tested the moment it is there, on
each store and each engine that has it. A case takes half a second to 3 seconds, by how long its
engine takes to see a start and an end; that of `array.in_place` takes 10 more, for so long the
engine waits until it believes that an array was never sent.
"""

import contextlib
import dataclasses
import pathlib
import signal
from collections.abc import Iterator, Mapping

import grpc
import pytest

from dshpc.v1 import types_pb2
from dshpc_server import crashing
from support import calls, fake_slurm, fault_runner, fault_scenario, fault_verdict, live_server
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

FLAGS: dict[str, object] = {
    "inline_output_bytes": fault_scenario.INLINE_OUTPUT_BYTES,
    "retry_first_seconds": 0.1,
    "min_free_bytes": 0,
}
SERVER_POINTS = [
    name for name in crashing.POINTS if not name.startswith(("runner.", "array.", "large."))
]
SLURM_POINTS = [
    name
    for name in crashing.POINTS
    if not name.startswith(
        (
            "runner.",  # there is none
            # Neither files nor rows have an engine, so these are as they are without Slurm.
            "content.",
            "deletion.",
            "rows.",
            "large.",  # see test_large_batches
        )
    )
]
SLURM_POINTS_OF_STORES = [
    name
    for name in SLURM_POINTS
    if name
    not in {
        "array.in_place",  # nothing of it is recorded, and it takes long
        "batch.accepted",  # no engine has heard of it, so these are as they are without Slurm
        "store.before_commit",
        "store.committed",
        "output.stored",
    }
]
"""Where it may matter which store and which engine come together."""
RUNNER_POINTS = [name for name in crashing.POINTS if name.startswith("runner.")]
LATER_PASSES = [("store.before_commit", 5), ("store.committed", 5), ("store.committed", 9)]
"""Of what happens again and again, a start included, the first pass is not the only one."""
ONE_SERVER = fault_verdict.Kills(servers=1, runners=0, attempts_at_once=2)
ONE_ARRAY = fault_verdict.Kills(servers=1, runners=1, attempts_at_once=4)
"""One that was in place and never sent is lost, with what the first two batches have in it."""
ONE_RUNNER = fault_verdict.Kills(servers=0, runners=1, attempts_at_once=1)


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fake_slurm.FakeSlurm]:
    """Pretended commands, for servers that run their jobs by them."""
    with fake_slurm.running(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture
def scenario(tmp_path: pathlib.Path) -> fault_scenario.Scenario:
    return fault_scenario.Scenario(tmp_path)


@pytest.mark.parametrize(
    ("point", "number"), [*((point, 1) for point in SERVER_POINTS), *LATER_PASSES]
)
def test_what_a_server_was_doing_when_it_died_is_done_once_by_the_next(
    tmp_path: pathlib.Path, scenario: fault_scenario.Scenario, point: str, number: int
) -> None:
    dies_and_is_followed(tmp_path, scenario, FLAGS, point, number)


@pytest.mark.parametrize("point", SERVER_POINTS)
def test_on_a_store_for_many_it_is_done_once_by_the_next_as_well(
    tmp_path: pathlib.Path, scenario: fault_scenario.Scenario, point: str, postgres_url: str
) -> None:
    dies_and_is_followed(tmp_path, scenario, {**FLAGS, "store": postgres_url}, point, 1)


@pytest.mark.parametrize("point", SLURM_POINTS)
def test_on_slurm_it_is_done_once_by_the_next_as_well(
    tmp_path: pathlib.Path,
    scenario: fault_scenario.Scenario,
    point: str,
    slurm: fake_slurm.FakeSlurm,
) -> None:
    dies_on_slurm_and_is_followed(tmp_path, scenario, FLAGS, point, slurm)


@pytest.mark.parametrize("point", SLURM_POINTS_OF_STORES)
def test_on_slurm_with_a_store_for_many_it_is_done_once_by_the_next_as_well(
    tmp_path: pathlib.Path,
    scenario: fault_scenario.Scenario,
    point: str,
    slurm: fake_slurm.FakeSlurm,
    postgres_url: str,
) -> None:
    dies_on_slurm_and_is_followed(
        tmp_path, scenario, {**FLAGS, "store": postgres_url}, point, slurm
    )


def dies_on_slurm_and_is_followed(
    folder: pathlib.Path,
    scenario: fault_scenario.Scenario,
    flags: Mapping[str, object],
    point: str,
    slurm: fake_slurm.FakeSlurm,
) -> None:
    """The same by pretended Slurm commands; at any point, an array may be about to be sent."""
    environment = {name: slurm.environment[name] for name in ("PATH", "SLURM_CONF")}
    flags = {**flags, "engine": "slurm"}
    die(folder, scenario, {**flags, "crash_at": f"{point}:1"}, environment)
    in_place = {array.name for array in (folder / "data/engine/slurm/arrays").glob("*")}
    with followed(folder, scenario, flags, point, environment) as service:
        unsent = in_place - {submission.name for submission in slurm.submissions}
        kills = dataclasses.replace(ONE_ARRAY, runners=len(unsent))
        assert scenario.problems(service, kills) == []
    assert unsent or point != "array.in_place"


def dies_and_is_followed(
    folder: pathlib.Path,
    scenario: fault_scenario.Scenario,
    flags: Mapping[str, object],
    point: str,
    number: int,
) -> None:
    """Have a server die at a point, and see what the next one makes of that."""
    die(folder, scenario, {**flags, "crash_at": f"{point}:{number}"}, None)
    with followed(folder, scenario, flags, point, None) as service:
        assert scenario.problems(service, ONE_SERVER) == []


@contextlib.contextmanager
def followed(
    folder: pathlib.Path,
    scenario: fault_scenario.Scenario,
    flags: Mapping[str, object],
    point: str,
    environment: Mapping[str, str] | None,
) -> Iterator[calls.Service]:
    """Have the next server come to the story's end."""
    with (
        live_server.as_process(folder, scenario.methods_dir, environment, **flags) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        assert scenario.lost_uploads(service) == []
        # What is on record is acted on, though nobody asks again.
        if point == "cancel.recorded":
            service.wait_for_status(scenario.stopped_job_id, types_pb2.JOB_STATUS_CANCELLED)
        if point == "withdrawal.recorded":
            service.wait_for_status(scenario.withdrawn_job_id, types_pb2.JOB_STATUS_CANCELLED)
        if point.startswith("deletion."):
            scenario.wait_until_deleted(service)
        scenario.play(service)
        yield service


def die(
    folder: pathlib.Path,
    scenario: fault_scenario.Scenario,
    flags: Mapping[str, object],
    environment: Mapping[str, str] | None,
) -> None:
    """Play on a server until it dies at the point that its flags name."""
    try:
        server = live_server.ServerProcess(folder, scenario.methods_dir, environment, **flags)
    except live_server.StartError as error:
        if error.code != -signal.SIGKILL:
            raise
        return  # a start has this moment, too
    with contextlib.ExitStack() as exits:
        exits.callback(server.stop, signal.SIGKILL)
        channel = exits.enter_context(grpc.insecure_channel(server.address))
        with pytest.raises(grpc.RpcError):
            scenario.play(calls.Service(channel))
        assert server.process.wait(live_server.STOP_SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize("point", RUNNER_POINTS)
def test_what_a_runner_was_doing_when_it_died_is_lost_and_retried_or_was_on_record(
    tmp_path: pathlib.Path, scenario: fault_scenario.Scenario, point: str
) -> None:
    folder = fault_runner.folder_of(tmp_path / "data")
    runner = fault_runner.start(folder, {crashing.RUNNER_VARIABLE: f"{point}:1"})
    # One after the other: of two at once, either can be the one whose moment it is.
    flags = {**FLAGS, "slots": 1}
    with (
        live_server.as_process(tmp_path, scenario.methods_dir, **flags) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        scenario.play(service)
        fault_runner.wait_until_dead(runner)
        assert scenario.problems(service, ONE_RUNNER) == []
        # Whatever the runner left, the job that works has completed.
        row = scenario.told[0].asked[0]
        done = service.run(row.config())
        assert done.new_status == types_pb2.JOB_STATUS_COMPLETED
        ran = [each.status for each in service.job(done.job_id).attempts]
        lost = [] if point == "runner.recorded" else [types_pb2.JOB_STATUS_NODE_FAIL]
        assert ran == [*lost, types_pb2.JOB_STATUS_COMPLETED]
