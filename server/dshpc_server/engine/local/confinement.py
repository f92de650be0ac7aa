"""Finds out, when the runner starts, how trees are held and memory is limited on this machine.

| found | trees | memory |
|---|---|---|
| v2 with the memory controller handed down to us | cgroup-v2 | cgroup-v2 |
| v2 beside v1 (hybrid), both writable | cgroup-v2 | cgroup-v1 |
| v2 writable, no memory controller | cgroup-v2 | polled |
| nothing writable | scan | polled |

Groups are made below the group the runner was born in, or beside it when that group's parent was
delegated to the service (systemd: `Delegate=yes` with `DelegateSubgroup=`). Their name is derived
from the runner's folder, so that the next runner finds and ends what a dead one left.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection
from typing import NamedTuple

from dshpc_server.engine.local import cgroups, memory, tree
from dshpc_server.engine.local.attempt import Attempt


class Confinement(NamedTuple):
    """How attempts are held."""

    tree: tree.Tree
    memory: memory.Memory

    @property
    def words(self) -> str:
        """The two kinds, for the log."""
        return f"tree={self.tree.name} memory={self.memory.name}"

    def release(self, attempt: Attempt) -> None:
        """Take back what an attempt had of which nothing lives."""
        if attempt.memory_bytes:
            self.memory.release(attempt)
        else:
            self.tree.leave(attempt.slot)

    def close(self) -> None:
        """Give everything back; nothing runs any more."""
        self.tree.close()
        if isinstance(self.memory, memory.MemoryV1):
            cgroups.purge(self.memory.group)


def choose(kind: str, folder: str, running: Callable[[], Collection[Attempt]]) -> Confinement:
    """Return the best confinement there is; `kind` none asks for the one without groups.

    Ends whatever a dead runner of this folder left in its groups.
    """
    tree.become_subreaper()
    groups = _find_tree(group_name(folder)) if kind == "auto" else None
    if groups is None:
        scanned = tree.ScannedTree(running)
        return Confinement(scanned, memory.PolledMemory(scanned))
    return Confinement(groups, _find_memory(groups, group_name(folder)))


def group_name(folder: str) -> str:
    """Return the name of the groups of the runner that serves in this folder."""
    # Two containers may use one path in one hierarchy, but not one directory.
    status = os.stat(folder)
    place = f"{os.path.realpath(folder)}\0{status.st_dev}\0{status.st_ino}"
    return "dshpc-" + hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def _find_tree(name: str) -> cgroups.GroupTree | None:
    mount = _mounts().get("cgroup2")
    if mount is None:
        return None
    home = _own_directory(mount, "")
    candidates = [home]
    parent = os.path.dirname(home)
    if _is_delegated(parent):
        candidates.insert(0, parent)
    for candidate in candidates:
        groups = cgroups.GroupTree(group=f"{candidate}/{name}", home=home)
        if _works(groups):
            return groups
    return None


def _works(groups: cgroups.GroupTree) -> bool:
    parent = os.path.dirname(groups.group)
    try:
        if not cgroups.purge(groups.group):
            return False
        os.mkdir(groups.group)
        for directory in (parent, groups.group):
            with contextlib.suppress(OSError):  # holds processes, or was not handed down
                cgroups.write(f"{directory}/cgroup.subtree_control", "+memory")
        groups.leave(groups.enter())
        groups.go_home()
    except OSError:
        with contextlib.suppress(OSError):
            groups.close()
        return False
    return True


def _find_memory(groups: cgroups.GroupTree, name: str) -> memory.Memory:
    if "memory" in cgroups.read(f"{groups.group}/cgroup.subtree_control").split():
        return memory.MemoryV2(groups)
    mount = _mounts().get("memory")
    if mount is not None:
        group = f"{_own_directory(mount, 'memory')}/{name}"
        with contextlib.suppress(OSError):
            cgroups.purge(group)
            os.mkdir(group)
            return memory.MemoryV1(group=group, tree=groups)
    return memory.PolledMemory(groups)


def _mounts() -> dict[str, str]:
    """Where the v2 hierarchy ("cgroup2") and v1's "memory" are mounted."""
    found: dict[str, str] = {}
    for line in cgroups.read("/proc/self/mounts").splitlines():
        _, point, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found.setdefault("cgroup2", point)
        elif kind == "cgroup" and "memory" in options.split(","):
            found.setdefault("memory", point)
    return found


def _own_directory(mount: str, controller: str) -> str:
    for line in cgroups.read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            directory = (mount + path).rstrip("/")
            # In a container without its own cgroup namespace the path leads elsewhere.
            return directory if os.path.isdir(directory) else mount
    return mount


def _is_delegated(directory: str) -> bool:
    for attribute in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(directory, attribute) == b"1":
                return True
    return False
