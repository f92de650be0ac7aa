"""Attempts that no runner holds any more: what is left of them is ended, then their end is told.

What is left is found in /proc. An attempt's processes are those that carry its JOB_WORKSPACE, its
main process when (boot, pid, start time) still agree, that one's session, and all their
descendants. What is seen is frozen until a look finds nobody new, and then killed: who dies takes
with it the knowledge whose its children are. Nothing is left when a whole look (`census`) saw
nothing; where looks are never whole, when none has seen anything for a second.

An end is put on record only when nothing of the attempt lives, so one that is there while something
does was not written by a runner: the attempt is lost, as it is without a record.

An attempt that was never started gets a folder for its end: that keeps an order to start it, which
a slow server may still send, from being obeyed after it was told to be lost.
"""

import time
from collections.abc import Callable, Collection, Mapping

from dshpc_server.engine.local import census, facts, processes, records, wire
from dshpc_server.engine.local.ledger import Ledger

_LOOK_SECONDS = 0.02
"""How soon to look again: what was killed takes a moment to go."""
_SHORTAGE_SECONDS = 1.0
"""How soon to look again when the machine was short of something."""
_FREEZE_SECONDS = 0.3
"""A family that still grows after this is killed as it is, look by look."""
_QUIET_SECONDS = 1.0
"""Seeing nothing for so long is enough where looks are never whole."""

_DIED = "the runner that watched it died, and no exit is on record"
_UNREADABLE = "the runner that watched it died, and its exit record is unreadable"
_CONTRADICTED = "the runner that watched it died, and its exit record is not true: it still ran"
_NEVER_STARTED = "it was never started"


class _Leftover:
    """One attempt that is being accounted for."""

    __slots__ = ("folder", "kill_at", "quiet_since", "seen")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.kill_at: float | None = None
        """When to freeze no longer; None before anything was seen."""
        self.quiet_since: float | None = None
        """Since when nothing of it was seen; None when the last look saw something."""
        self.seen: set[tuple[int, int]] = set()
        """Number and start time of all that was seen to live of it."""

    def strike(self, family: Collection[processes.Process], now: float) -> None:
        """Freeze what lives, or kill it when nobody is new."""
        members = {(process.pid, process.start_time) for process in family}
        if self.kill_at is None:
            self.kill_at = now + _FREEZE_SECONDS
        if members <= self.seen or now >= self.kill_at:
            processes.kill(family)
        else:
            processes.freeze(family)
        self.seen |= members
        self.quiet_since = None


class Leftovers:
    """The attempts that are being accounted for."""

    def __init__(self, ledger: Ledger, log: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._log = log
        self._left: dict[str, _Leftover] = {}
        """By attempt name."""
        self._census = census.Census()
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
        """End what is seen; those of which nothing is seen any more have ended."""
        if not self._left or now < self._look_at:
            return
        try:
            gone = self._end(now)
            is_short = False
        except OSError as error:
            self._log(f"event=no_look errno={error.errno}")
            gone, is_short = [], True
        for name in gone:
            is_short |= not self._tell(name)
        pause_seconds = _SHORTAGE_SECONDS if is_short else _LOOK_SECONDS
        self._look_at = time.monotonic() + pause_seconds

    def _end(self, now: float) -> list[str]:
        """End what is left, and return the names of those of which nothing is."""
        workspaces = {f"{left.folder}/workspace": left.folder for left in self._left.values()}
        look = self._census.look(workspaces)
        marked: dict[str, set[int]] = {}
        for pid, mark in look.marks.items():
            if mark.workspace in workspaces:
                marked.setdefault(workspaces[mark.workspace], set()).add(pid)
        gone = []
        for name, left in self._left.items():
            roots = marked.get(left.folder, set()) | _session(look.table, name, left.folder)
            # What was killed takes its time to go, and may have lost the parent that tells whose.
            roots |= {pid for pid, start_time in left.seen if _is(look.table, pid, start_time)}
            family = [look.table[pid] for pid in processes.with_descendants(look.table, roots)]
            if family:
                left.strike(family, now)
                continue
            if left.quiet_since is None:
                left.quiet_since = now
            if look.is_whole or now - left.quiet_since >= _QUIET_SECONDS:
                gone.append(name)
        return gone

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
            lost = facts.lost(name, end)
            self._ledger.record(left.folder, lost, makes_folder=end == _NEVER_STARTED)
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
        return _CONTRADICTED if left.seen else recorded
    was_here = bool(left.seen) or records.was_started(left.folder)
    return _DIED if was_here else _NEVER_STARTED


def _is(table: Mapping[int, processes.Process], pid: int, start_time: int) -> bool:
    return pid in table and table[pid].start_time == start_time


def _session(table: Mapping[int, processes.Process], name: str, folder: str) -> set[int]:
    main = records.find_process(folder, name, table)
    if main is None:
        return set()
    return {process.pid for process in table.values() if process.session == main.pid}
