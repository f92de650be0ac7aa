"""What an engine under test has left behind: processes, runners, control groups."""

import os
import pathlib
import time

from dshpc_server.engine.local import confinement, processes

_DEADLINE_SECONDS = 10.0


def processes_of(folder: pathlib.Path) -> set[int]:
    """Methods' processes whose workspace is below the folder, and runners that serve in it."""
    found = set()
    for pid in processes.table():
        workspace = processes.workspace_of(pid) or ""
        if workspace.startswith(f"{folder}/") or serves(pid, folder):
            found.add(pid)
    return found


def groups_of(engine_folder: pathlib.Path) -> list[pathlib.Path]:
    """Control groups of the runner of this folder."""
    if not engine_folder.exists():
        return []
    return groups_named(confinement.group_name(str(engine_folder)))


def groups_named(name: str) -> list[pathlib.Path]:
    """Control groups of this name, in any hierarchy."""
    # Those of others go while this looks; os.walk passes them over.
    walked = os.walk("/sys/fs/cgroup")
    return [pathlib.Path(folder, name) for folder, folders, _ in walked if name in folders]


def await_none(folder: pathlib.Path) -> set[int]:
    """Wait until nothing is left; what is left at the deadline is killed and returned."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    processes.kill([process for pid in left if (process := processes.look_up(pid))])
    return left


def serves(pid: int, folder: pathlib.Path) -> bool:
    """Whether a process is a runner that serves in the folder."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if b"dshpc_server.engine.local.runner" not in words:
        return False
    return any(word.startswith(bytes(folder)) for word in words)
