"""Methods that stay until they are let go, and the deaths of servers and runners around them."""

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import AsyncIterator

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port
from dshpc_server.engine.local import processes
from dshpc_server.engine.local.engine import LocalEngine
from support import engine_told

CAPACITY = port.Capacity(cpus=2, memory_bytes=2**32, gpus=0)
STAY = """
    echo run >> "$METHOD_DIR/runs"
    touch "$JOB_WORKSPACE/ready"
    until [ -e "$METHOD_DIR/go" ]; do sleep 0.01; done
    echo done
"""
"""Runs until it is let go."""


async def ready(*launches: port.Launch) -> None:
    """Wait until these methods have got as far as they say."""
    for launch in launches:
        await engine_told.eventually((launch.folder / "workspace" / "ready").exists)


@contextlib.asynccontextmanager
async def started(engine: port.Engine, *launches: port.Launch) -> AsyncIterator[engine_told.Told]:
    """Run an engine that has started these, and told so; leaving is its server's death."""
    async with engine_told.running(engine) as told:
        await engine.submit_many(launches)
        await ready(*launches)
        for launch in launches:
            await told.start_of(launch.key)
        yield told


def let_go(*launches: port.Launch) -> None:
    for launch in launches:
        (launch.method_dir / "go").touch()


def places(*launches: port.Launch) -> list[tuple[AttemptKey, pathlib.Path]]:
    """What `recover` is asked with."""
    return [(launch.key, launch.folder) for launch in launches]


def wait_until_shown(pid: int) -> None:
    """Wait until a process that was just started shows its environment: its exec is over."""
    deadline = time.monotonic() + engine_told.DEADLINE_SECONDS
    while processes.mark_of(pid).is_hidden and time.monotonic() < deadline:
        time.sleep(0.001)


def kill_runner(engine: LocalEngine) -> int:
    """Kill the runner that the engine is connected to; its process id."""
    pid = engine.runner_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid
