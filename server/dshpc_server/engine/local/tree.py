"""Which processes belong to an attempt, and how all of them are ended.

`Tree` is what the supervisor needs; `cgroups.GroupTree` does it by control groups. `ScannedTree`
needs no privilege: the runner is the subreaper, so whatever an attempt starts stays among the
runner's descendants, and orphans are told apart by session and by JOB_WORKSPACE. An orphan that
hides both belongs to nobody, and ends with the next attempt that ends.
"""

import ctypes
import time
from collections.abc import Callable, Collection
from typing import Protocol

from dshpc_server.engine.local import processes
from dshpc_server.engine.local.attempt import NO_SLOT, Attempt, Slot

_PR_SET_CHILD_SUBREAPER = 36
_UNCLEAR_SECONDS = 1.0
"""Longer than any exec: who shows no mark after this has none."""


class Tree(Protocol):
    """The processes of attempts."""

    name: str

    def enter(self) -> Slot:
        """Have the next process that is spawned, and all it starts, belong to this slot."""
        ...

    def members(self, attempt: Attempt) -> Collection[int]:
        """Pids of everything of the attempt that lives now."""
        ...

    def kill(self, attempt: Attempt) -> None:
        """Send SIGKILL to everything of the attempt. New ones may be born meanwhile.

        The main process comes first: one that saw its child die might go on and end with 0.
        """
        ...

    def is_gone(self, attempt: Attempt) -> bool:
        """Whether nothing of an attempt lives whose main process has ended; kills what does."""
        ...

    def leave(self, slot: Slot) -> None:
        """Take an empty slot back."""
        ...

    def close(self) -> None:
        """Give everything back; nothing runs any more."""
        ...


def become_subreaper() -> None:
    """Make orphans among the descendants children of this process instead of init's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class ScannedTree:
    """Membership by descent, session and mark, read from /proc."""

    name = "scan"

    def __init__(
        self,
        running: Callable[[], Collection[Attempt]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._running = running
        """All attempts whose processes may live."""
        self._clock = clock
        self._first_seen: dict[processes.Process, float] = {}
        """When each orphan that shows no mark, as in the middle of an exec, was seen first."""

    def enter(self) -> Slot:
        """Do nothing: descent is enough."""
        return NO_SLOT

    def members(self, attempt: Attempt) -> Collection[int]:
        """The main process while it lives, orphans of its, and all their descendants."""
        table = processes.table()
        orphans = self._orphans() & table.keys()
        owned = {pid for pid in orphans if self._whose(table[pid])[0] is attempt}
        # A main process that was reaped has given its number back.
        main = {attempt.pid} if attempt.wait_status is None else set()
        return processes.with_descendants(table, main | owned)

    def kill(self, attempt: Attempt) -> None:
        """Kill every member seen in one look."""
        table = processes.table()
        main_first = sorted(self.members(attempt), key=lambda pid: pid != attempt.pid)
        processes.kill([table[pid] for pid in main_first if pid in table])

    def is_gone(self, attempt: Attempt) -> bool:
        """Look for orphans; when the runner has none, nothing can be left."""
        if not self._orphans():
            return True
        table = processes.table()
        orphans = self._orphans() & table.keys()
        whose = {pid: self._whose(table[pid]) for pid in orphans}
        unclear = self._unclear({table[pid] for pid in orphans if whose[pid][1]})
        doomed = {pid for pid in orphans if whose[pid][0] in (attempt, None)} - unclear
        family = processes.with_descendants(table, doomed)
        processes.kill([table[pid] for pid in family])
        return not family and not unclear

    def _unclear(self, hidden: set[processes.Process]) -> set[int]:
        """Those that have not hidden their marks for long; they may be another attempt's."""
        now = self._clock()
        self._first_seen = {each: self._first_seen.get(each, now) for each in hidden}
        return {each.pid for each in hidden if now - self._first_seen[each] < _UNCLEAR_SECONDS}

    def leave(self, slot: Slot) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def _orphans(self) -> set[int]:
        mains = {attempt.pid for attempt in self._running() if attempt.wait_status is None}
        return processes.own_children() - mains

    def _whose(self, process: processes.Process) -> tuple[Attempt | None, bool]:
        """Whose it is, and, if nobody's, whether its mark could not be read now."""
        mark = processes.mark_of(process.pid)
        for attempt in self._running():
            # The number of a session stays taken while the session has members.
            if mark.workspace == attempt.workspace or process.session == attempt.pid:
                return attempt, False
        return None, mark.is_hidden
