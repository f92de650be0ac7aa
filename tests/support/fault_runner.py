"""The runner of a data folder: found, killed, or started before its server with faults of its own.

A server finds a runner that is there already. One that is started here has an environment that a
server would not give it (a crash point, a failing disk, another clock); the next one, which the
server starts, has not.
"""

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping

import dshpc_server
from dshpc_server.engine.local import engine, processes
from support import engine_leavings, live_server

_MODULE = "dshpc_server.engine.local.runner"


def folder_of(data_dir: pathlib.Path) -> pathlib.Path:
    """Where the runner of this machine has its own."""
    return data_dir / "engine" / engine.folder_name()


def start(folder: pathlib.Path, environment: Mapping[str, str]) -> int:
    """Start the runner of an engine's folder; its pid. A server is to connect within seconds."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = pathlib.Path(dshpc_server.__file__).parent.parent
    subprocess.run(
        [sys.executable, "-P", "-m", _MODULE, "--folder", str(folder)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(source), **environment},
        cwd="/",
        check=True,
        timeout=30,
    )
    (pid,) = pids(folder)
    return pid


def pids(folder: pathlib.Path) -> list[int]:
    """The runners that serve in this folder, or below it."""
    return [pid for pid in processes.table() if engine_leavings.serves(pid, folder)]


def kill(folder: pathlib.Path) -> int:
    """Kill the runners that serve in this folder, or below it; how many there were."""
    killed = pids(folder)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    return len(killed)


def wait_until_dead(pid: int) -> None:
    """Wait until a runner is no more."""
    live_server.wait_for(lambda: processes.look_up(pid) is None, f"runner {pid} to die")
