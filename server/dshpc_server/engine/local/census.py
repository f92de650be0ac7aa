"""Looks at all processes, and tells whether one may have slipped through.

A look takes milliseconds, so it is no picture of one moment. Two things hide a process from it: in
the middle of an exec it shows no environment, and one that forks and exits again and again is gone
by the time its number is read, while its child was not there yet when the numbers were listed. A
look in which neither may have happened is *whole*. On a machine where processes come and go all the
time that may take many looks: whoever asks decides how long to go on.
"""

import dataclasses
from collections.abc import Collection, Mapping

from dshpc_server.engine.local import processes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What was seen."""

    table: Mapping[int, processes.Process]
    """Every living process by its number."""
    marks: Mapping[int, processes.Mark]
    """What each of them shows of whose it is."""
    is_whole: bool
    """Nothing can have slipped through."""


class Census:
    """Looks again and again; remembers who was dead the last time."""

    def __init__(self) -> None:
        self._dead: set[tuple[int, int | None]] = set()

    def look(self, doomed: Collection[str]) -> Look:
        """Look at every process once; those with one of these workspaces are frozen when seen."""
        table: dict[int, processes.Process] = {}
        marks: dict[int, processes.Mark] = {}
        dead: set[tuple[int, int | None]] = set()
        # The youngest first: who lives for a moment only may still be there.
        for pid in sorted(processes.listed(), reverse=True):
            process = processes.look_up(pid)
            if process is None:
                # Zombies may stay for long; who died since the last look may have left a child.
                dead.add((pid, processes.start_time(pid)))
                continue
            table[pid], marks[pid] = process, processes.mark_of(pid)
            if marks[pid].workspace in doomed:
                processes.freeze([process])
        is_whole = dead <= self._dead and not any(mark.is_hidden for mark in marks.values())
        self._dead = dead
        return Look(table=table, marks=marks, is_whole=is_whole)
