"""Where a Slurm cluster for tests can be: whether the machine has what it takes, a folder, ports.

Promise: the folder is gone when its context ends.
"""

import contextlib
import functools
import os
import pathlib
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence

from support import component, slurm_processes

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
_ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db")
_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHARED_MEMORY = pathlib.Path("/dev/shm")
# Below those that Linux gives to whoever connects somewhere.
_PORTS = range(12_000, 32_000)
_CGROUPS = pathlib.Path("/sys/fs/cgroup")


def require(*, cgroups: bool, accounting: bool) -> None:
    """Go on where a cluster can run; otherwise skip the test, or fail it."""
    component.require("slurm", present=os.geteuid() == 0 and _has(_PROGRAMS))
    if cgroups:
        # Slurm makes its groups at the top of each hierarchy of version 1.
        writable = all(os.access(_CGROUPS / name, os.W_OK) for name in ("memory", "freezer"))
        component.require("cgroups", present=writable)
    if accounting:
        component.require("slurmdbd", present=_has(_ACCOUNTING_PROGRAMS))


def search_path() -> str:
    """Where programs are, administrators' ones among them."""
    return _SYSTEM_FOLDERS


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    """A fresh folder: in memory if possible, as a controller saves its state all the time."""
    # Not in pytest's folder, whose name is too long for a socket.
    above = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else pathlib.Path("/tmp")
    path = pathlib.Path(tempfile.mkdtemp(prefix="dshpc-slurm-", dir=above))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    choices = random.SystemRandom().sample(_PORTS, len(_PORTS))
    free = (port for port in choices if _is_free(port))
    return [next(free) for _ in range(count)]


def end_cgroups(nodes: Sequence[str]) -> None:
    """Kill what is in the control groups of these nodes, and remove them."""
    for node in nodes:
        for top in _CGROUPS.glob(f"*/slurm_{node}"):
            for path, _, _ in os.walk(top, topdown=False):
                group = pathlib.Path(path)
                members = (group / "cgroup.procs").read_text().split()
                slurm_processes.kill([int(pid) for pid in members])
                assert slurm_processes.until(functools.partial(_is_removed, group)), group


def _is_removed(group: pathlib.Path) -> bool:
    """Remove a group; who is dead stays in it until waited for."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def _has(programs: Sequence[str]) -> bool:
    return all(shutil.which(program, path=search_path()) for program in programs)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
