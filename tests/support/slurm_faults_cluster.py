"""What befalls a Slurm cluster in tests of faults, and waiting for what it then does."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from support.slurm_cluster import SlurmCluster

SECONDS = 60.0
"""How long anything may take to come about: Slurm looks at some things every half a minute."""
_POLL_SECONDS = 0.1
_Fact = TypeVar("_Fact")


@contextlib.contextmanager
def filled(cluster: SlurmCluster) -> Iterator[None]:
    """Have somebody else's job hold every node."""
    nodes = f"--nodes={len(cluster.nodes)}"
    words = ("--parsable", "--exclusive", nodes, "--output=/dev/null", "--job-name=other")
    job_id = cluster.command("sbatch", *words, "--wrap=exec sleep 600").strip()
    state = ("squeue", "-h", "-j", job_id, "-o", "%T")
    wait_for(lambda: cluster.command(*state).strip() == "RUNNING", "the nodes to be taken")
    try:
        yield
    finally:
        cluster.command("scancel", job_id)


@contextlib.contextmanager
def controller_down(cluster: SlurmCluster) -> Iterator[None]:
    """Have the controller killed; it is started again in the end."""
    cluster.stop_controller()
    try:
        yield
    finally:
        cluster.start_controller()


def wait_until_saved(cluster: SlurmCluster) -> None:
    """Wait until the controller has saved all that it knows by now: it does every few seconds."""
    mark = f"mark-{secrets.token_hex(8)}"
    words = ("--parsable", "--hold", "--output=/dev/null", f"--job-name={mark}", "--wrap=exit")
    job_id = cluster.command("sbatch", *words).strip()
    saved = cluster.folder / "state" / "job_state"
    wait_for(lambda: saved.exists() and mark.encode() in saved.read_bytes(), "it to be saved")
    cluster.command("scancel", job_id)


def put_back_nodes(cluster: SlurmCluster) -> None:
    """Do what an administrator does with nodes that Slurm has drained."""
    listed = cluster.command("sinfo", "-h", "-N", "-t", "drain", "-o", "%N").split()
    if listed:
        cluster.command("scontrol", "update", f"NodeName={','.join(listed)}", "State=RESUME")


def wait_for(fact: Callable[[], _Fact | None], what: str) -> _Fact:
    """Ask again and again until the answer is truthy, and return it."""
    deadline = time.monotonic() + SECONDS
    while not (answer := fact()):
        assert time.monotonic() < deadline, f"waited {SECONDS:g} s in vain for {what}"
        time.sleep(_POLL_SECONDS)
    return answer
