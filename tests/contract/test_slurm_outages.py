"""Slurm's commands on a real cluster whose controller does not answer: nothing is made up."""

import pathlib
from collections.abc import Awaitable, Callable, Iterator

import pytest

from dshpc_server.engine.slurm import cluster, command_line
from support import slurm_cluster
from support.slurm_arrays import array, told
from support.slurm_cluster import SlurmCluster

_HASTE = command_line.Timeouts(submit_seconds=1.0, ask_seconds=0.5, stop_seconds=0.5)
_QUESTIONS: dict[str, Callable[[cluster.Cluster], Awaitable[object]]] = {
    "squeue": lambda commands: commands.tasks(ended=False),
    "scontrol": lambda commands: commands.limits(),
    "sinfo": lambda commands: commands.partition(),
    "scancel": lambda commands: commands.cancel(["1_1"]),
}


@pytest.fixture(scope="module")
def mortal() -> Iterator[SlurmCluster]:
    # Its commands give up after a second, instead of half a minute.
    with slurm_cluster.running(nodes=1, extra="MessageTimeout=2") as cluster:
        yield cluster


@pytest.fixture
def hasty(mortal: SlurmCluster) -> cluster.Cluster:
    return command_line.CommandLine(environment=mortal.environment, timeouts=_HASTE)


@pytest.fixture
def patient(mortal: SlurmCluster) -> cluster.Cluster:
    return command_line.CommandLine(environment=mortal.environment)


@pytest.fixture
def _paused(mortal: SlurmCluster) -> Iterator[None]:
    mortal.pause_controller()
    yield
    mortal.resume_controller()


@pytest.fixture
def _dead(mortal: SlurmCluster) -> Iterator[None]:
    mortal.stop_controller()
    yield
    mortal.start_controller()


@pytest.mark.usefixtures("_paused")
@pytest.mark.parametrize("command", _QUESTIONS)
async def test_a_controller_that_hangs_tells_nothing(command: str, hasty: cluster.Cluster) -> None:
    with pytest.raises(cluster.UnreachableError, match=r"no answer within 0\.5 s"):
        await _QUESTIONS[command](hasty)


@pytest.mark.usefixtures("_dead")
@pytest.mark.parametrize("command", _QUESTIONS)
async def test_a_controller_that_is_gone_tells_nothing(
    command: str, hasty: cluster.Cluster
) -> None:
    with pytest.raises(cluster.UnreachableError):
        await _QUESTIONS[command](hasty)


@pytest.mark.usefixtures("_dead")
async def test_an_array_sent_to_a_controller_that_is_gone_has_an_unknown_outcome(
    hasty: cluster.Cluster, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(cluster.UnknownOutcomeError):
        await hasty.submit(array(tmp_path, "exit 0"))


@pytest.mark.usefixtures("_dead")
async def test_what_sbatch_says_of_a_controller_that_is_gone_is_no_refusal(
    patient: cluster.Cluster, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(cluster.UnknownOutcomeError, match="Unable to contact slurm controller"):
        await patient.submit(array(tmp_path, "exit 0"))


async def test_an_array_sent_to_a_controller_that_hangs_may_be_found_later_by_its_name(
    mortal: SlurmCluster,
    hasty: cluster.Cluster,
    patient: cluster.Cluster,
    tmp_path: pathlib.Path,
) -> None:
    sent = array(tmp_path, "exit 0", tasks=3)
    mortal.pause_controller()
    try:
        with pytest.raises(cluster.UnknownOutcomeError):
            await hasty.submit(sent)
    finally:
        mortal.resume_controller()

    assert len(await told(patient, sent.name, bool)) == 3
