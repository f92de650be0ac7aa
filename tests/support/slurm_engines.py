"""Slurm engines for tests, with a patience that suits them."""

import itertools
import os
import pathlib
from collections.abc import Mapping

from dshpc_server import clock as clock_
from dshpc_server.engine.slurm import arrays, cluster, command_line, looking, verdict
from dshpc_server.engine.slurm.engine import SlurmEngine

DEPLOYMENT_ID = "d" * 32
PATIENCE = verdict.Patience(
    grace_seconds=1.0, doubt_seconds=3.0, settle_seconds=1.0, alive_seconds=6.0
)
PACE = looking.Pace(first_seconds=0.2, last_seconds=1.0, records_seconds=0.1)
TIMEOUTS = command_line.Timeouts(
    submit_seconds=5.0, ask_seconds=3.0, stop_seconds=3.0, account_seconds=10.0
)
_NUMBERS = itertools.count(1)


def make(
    folder: pathlib.Path,
    environment: Mapping[str, str],
    *,
    policy: arrays.Policy = arrays.Policy(),  # noqa: B008 - frozen
    patience: verdict.Patience = PATIENCE,
    pace: looking.Pace = PACE,
    queued_jobs: int = 10_000,
    asked: cluster.Cluster | None = None,
    clock: clock_.Clock | None = None,
) -> SlurmEngine:
    """The engine of one server; all over one folder are of one deployment.

    `asked` is the cluster, where it is not that of the commands on PATH.
    """
    return SlurmEngine(
        folder,
        cluster=asked or command_line.CommandLine(environment=environment, timeouts=TIMEOUTS),
        deployment_id=DEPLOYMENT_ID,
        new_id=lambda: f"{os.getpid()}x{next(_NUMBERS)}",
        environment={"PATH": os.environ["PATH"], "DSHPC_SECRET": "canary"},
        policy=policy,
        queued_jobs=queued_jobs,
        patience=patience,
        pace=pace,
        clock=clock or clock_.SystemClock(),
    )
