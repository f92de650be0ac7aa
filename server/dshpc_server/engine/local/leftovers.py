"""Attempts that no runner holds any more: what is left of them is ended, then their end is told.

What is left is found in /proc. An attempt's processes are those that carry its JOB_WORKSPACE, its
main process when (boot, pid, start time) still agree, that one's session, and all their
descendants. An end is put on record only when nothing of the attempt lives, so one that is there
while something does was not written by a runner: the attempt is lost, as it is without a record.
"""

import time
from collections.abc import Callable, Collection, Mapping

from dshpc_server.engine.local import facts, processes, records, wire
from dshpc_server.engine.local.ledger import Ledger

_LOOK_SECONDS = 0.02
"""How soon to look again: what was killed takes a moment to go."""
_SHORTAGE_SECONDS = 1.0
"""How soon to look again when the machine was short of something."""

_DIED = "the runner that watched it died, and no exit is on record"
_UNREADABLE = "the runner that watched it died, and its exit record is unreadable"
_CONTRADICTED = "the runner that watched it died, and its exit record is not true: it still ran"
_NEVER_STARTED = "it was never started"


class _Leftover:
    """One attempt that is being accounted for."""

    __slots__ = ("folder", "was_alive")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.was_alive = False
        """Whether anything of it was seen to live."""


class Leftovers:
    """The attempts that are being accounted for."""

    def __init__(self, ledger: Ledger, log: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._log = log
        self._left: dict[str, _Leftover] = {}
        """By attempt name."""
        self._look_at = 0.0

    def take(self, name: str, folder: str) -> None:
        """End what is left of this attempt, then tell its end, or that it is lost."""
        self._left.setdefault(name, _Leftover(folder))

    def knows(self, name: str) -> bool:
        """Whether this attempt is being accounted for."""
        return name in self._left

    def due_at(self) -> float | None:
        """When to call `tick`; None when there is nothing to account for."""
        return self._look_at if self._left else None

    def tick(self, now: float) -> None:
        """Kill what is seen; those of which nothing is seen any more have ended."""
        if not self._left or now < self._look_at:
            return
        try:
            alive: Collection[str] = self._kill()
            is_short = False
        except OSError as error:
            self._log(f"event=no_look errno={error.errno}")
            alive, is_short = self._left, True
        for name in [name for name in self._left if name not in alive]:
            is_short |= not self._tell(name)
        pause_seconds = _SHORTAGE_SECONDS if is_short else _LOOK_SECONDS
        self._look_at = time.monotonic() + pause_seconds

    def _kill(self) -> set[str]:
        """Kill what is left, and return the names of those of which something was."""
        table = processes.table()
        marked = self._marked(table)
        alive: set[str] = set()
        for name, left in self._left.items():
            roots = marked.get(left.folder, set()) | _session(table, name, left.folder)
            family = processes.with_descendants(table, roots)
            processes.kill([table[pid] for pid in family])
            if family:
                left.was_alive = True
                alive.add(name)
        return alive

    def _marked(self, table: Mapping[int, processes.Process]) -> dict[str, set[int]]:
        workspaces = {f"{left.folder}/workspace": left.folder for left in self._left.values()}
        found: dict[str, set[int]] = {}
        for pid in table:
            folder = workspaces.get(processes.workspace_of(pid) or "")
            if folder is not None:
                found.setdefault(folder, set()).add(pid)
        return found

    def _tell(self, name: str) -> bool:
        """Tell how an attempt of which nothing lives has ended, unless that cannot be read now."""
        left = self._left[name]
        try:
            end = _end(name, left)
        except OSError as error:
            self._log(f"event=no_exit_read attempt={name} errno={error.errno}")
            return False
        del self._left[name]
        if isinstance(end, str):
            self._log(f"event=lost attempt={name} why={end!r}")
            self._ledger.record(left.folder, facts.lost(name, end))
        else:
            self._ledger.tell(end)
        return True


def _end(name: str, left: _Leftover) -> wire.Fact | str:
    """The end on record, or why the attempt is lost. Raises OSError: not known for the moment."""
    try:
        recorded = records.read_exit(left.folder, name)
    except records.UnreadableError:
        return _UNREADABLE
    if recorded is not None:
        return _CONTRADICTED if left.was_alive else recorded
    was_here = left.was_alive or records.was_started(left.folder)
    return _DIED if was_here else _NEVER_STARTED


def _session(table: Mapping[int, processes.Process], name: str, folder: str) -> set[int]:
    main = records.find_process(folder, name, table)
    if main is None:
        return set()
    return {process.pid for process in table.values() if process.session == main.pid}
