"""The engine that the settings ask for, and where its attempts can be accounted for."""

import os
import pathlib
import secrets
import shlex

from dshpc_server import config
from dshpc_server.engine import port
from dshpc_server.engine.local import engine as local_engine
from dshpc_server.engine.slurm import arrays, command_line
from dshpc_server.engine.slurm import engine as slurm_engine

_ARRAY_ID_BYTES = 8


def scope_of(settings: config.Settings) -> str:
    """Where attempts can be accounted for: on this node, or by every server of the cluster."""
    return slurm_engine.SCOPE if settings.engine == "slurm" else local_engine.scope()


def engine_of(settings: config.Settings, data_dir: pathlib.Path, deployment_id: str) -> port.Engine:
    """Make the engine; its folder is made when it runs."""
    folder = data_dir / "engine"
    if settings.engine == "slurm":
        return _slurm(settings, folder / "slurm", deployment_id)
    return local_engine.LocalEngine(
        folder / local_engine.folder_name(),
        capacity=port.Capacity(cpus=settings.slots, memory_bytes=settings.memory_bytes, gpus=0),
    )


def _slurm(
    settings: config.Settings, folder: pathlib.Path, deployment_id: str
) -> slurm_engine.SlurmEngine:
    return slurm_engine.SlurmEngine(
        folder,
        cluster=command_line.CommandLine(
            environment=os.environ,
            partition=settings.slurm_partition,
            account=settings.slurm_account,
            qos=settings.slurm_qos,
            options=shlex.split(settings.slurm_options),
        ),
        deployment_id=deployment_id,
        new_id=lambda: secrets.token_hex(_ARRAY_ID_BYTES),
        environment=os.environ,
        policy=arrays.Policy(
            pack_below_seconds=settings.pack_below_seconds,
            pack_jobs=settings.pack_jobs,
            parallel=settings.slurm_parallel,
        ),
        queued_jobs=settings.slurm_queued_jobs,
    )
