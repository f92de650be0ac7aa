"""What is left of attempts whose runner died: found in /proc, ended, and told as lost.

An attempt's processes are those that carry its JOB_WORKSPACE, its main process when (boot, pid,
start time) still agree, that one's session, and all their descendants.
"""

import time

from dshpc_server.engine.local import facts, processes, records
from dshpc_server.engine.local.ledger import Ledger

_LOOK_SECONDS = 0.02
"""How soon to look again: what was killed takes a moment to go."""


class Leftovers:
    """The attempts that are being ended."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._folders: dict[str, str] = {}
        """By attempt name."""
        self._look_at = 0.0

    def take(self, name: str, folder: str) -> None:
        """End what is left of this attempt, then tell it as lost."""
        self._folders[name] = folder

    def knows(self, name: str) -> bool:
        """Whether this attempt is being ended."""
        return name in self._folders

    def due_at(self) -> float | None:
        """When to call `tick`; None when there is nothing to end."""
        return self._look_at if self._folders else None

    def tick(self, now: float) -> None:
        """Kill what is seen; the attempts of which nothing is seen any more are lost."""
        if not self._folders or now < self._look_at:
            return
        alive = self._kill()
        for name, folder in list(self._folders.items()):
            if folder not in alive:
                del self._folders[name]
                reason = "the runner that watched it died, and no exit is on record"
                self._ledger.record(folder, facts.lost(name, reason))
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def _kill(self) -> set[str]:
        """Kill what is left, and return the folders of which something was."""
        table = processes.table()
        marked = self._marked(table)
        alive: set[str] = set()
        for folder in self._folders.values():
            roots = marked.get(folder, set()) | _session(table, folder)
            family = processes.with_descendants(table, roots)
            processes.kill([table[pid] for pid in family])
            if family:
                alive.add(folder)
        return alive

    def _marked(self, table: dict[int, processes.Process]) -> dict[str, set[int]]:
        workspaces = {f"{folder}/workspace": folder for folder in self._folders.values()}
        found: dict[str, set[int]] = {}
        for pid in table:
            folder = workspaces.get(processes.workspace_of(pid) or "")
            if folder is not None:
                found.setdefault(folder, set()).add(pid)
        return found


def _session(table: dict[int, processes.Process], folder: str) -> set[int]:
    main = records.find_process(folder, table)
    if main is None:
        return set()
    return {process.pid for process in table.values() if process.session == main.pid}
