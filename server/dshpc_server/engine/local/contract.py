"""A launch as the runner starts it, and what the runner's facts mean."""

import datetime
import pathlib
from collections.abc import Mapping

from dshpc_server.domain.job import AttemptKey, Usage
from dshpc_server.engine import contract, port
from dshpc_server.engine.local import wire

name_of = contract.name_of
shared_environment = contract.shared_environment


def job_of(launch: port.Launch, environment: Mapping[str, str]) -> wire.Job:
    """Return the process that execution contract 1 makes of a launch."""
    process = contract.process_of(launch, environment)
    return {
        "name": name_of(launch.key),
        "folder": str(launch.folder.absolute()),
        "argv": [*process.argv],
        "cwd": process.cwd,
        "env": {**process.env},
        "params": launch.parameters_json,
        "memory_bytes": launch.resources.memory_bytes,
        "timeout_seconds": launch.timeout_seconds,
    }


def fact_of(fact: wire.Fact, key: AttemptKey, folder: pathlib.Path, node: str) -> port.Fact:
    """Return a runner's fact, which is in form, as the port has it."""
    at = _moment(fact["at"])
    match fact["fact"]:
        case "started":
            return port.Started(key=key, at=at, engine_job_id=str(fact["pid"]), node=node)
        case "exited":
            started_at = _moment(fact["started_at"])
            return port.Exited(
                key=key,
                at=max(at, started_at),  # the clock may have been set back
                started_at=started_at,
                engine_job_id=str(fact["pid"]),
                node=node,
                exit_code=fact["exit_code"],
                signal=fact["signal"],
                cause=port.Cause(fact["cause"]),
                stdout=folder / "stdout",
                stderr=folder / "stderr",
                usage=_usage(fact),
            )
        case "not_started":
            # Runners before this one did not say so.
            is_permanent = fact.get("is_permanent") is True
            return port.NotStarted(key=key, at=at, reason=fact["reason"], is_permanent=is_permanent)
        case _:
            return port.Lost(key=key, at=at, reason=fact["reason"])


def _usage(fact: wire.Fact) -> Usage:
    return Usage(
        cpu_seconds=fact.get("cpu_seconds"), peak_memory_bytes=fact.get("peak_memory_bytes")
    )


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
