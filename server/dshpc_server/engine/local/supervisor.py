"""The runner's heart: starts attempts, watches them, ends them whole, and puts the end on record.

Promises: an attempt is started at most once. Its end is told only when nothing of it lives and
`exit.json` is in place. Whatever ends an attempt early (time, memory, cancelling) is SIGKILL to
the whole tree at once: the workspace is thrown away and an unfinished output is not published, so
there is nothing for a method to tidy up.
"""

import os
from collections import deque
from collections.abc import Callable

from dshpc_server import crashing
from dshpc_server.engine.local import (
    facts,
    ledger,
    leftovers,
    overruns,
    records,
    spawn,
    wire,
    workspaces,
)
from dshpc_server.engine.local.attempt import Attempt
from dshpc_server.engine.local.confinement import Confinement

_SETTLE_SECONDS = 0.005
"""How soon to look again at a tree that was killed and is not gone yet."""


class Supervisor:
    """All attempts of one runner. Nothing here blocks; `tick` is called again and again."""

    def __init__(
        self,
        *,
        running: dict[str, Attempt],
        confinement: Confinement,
        rooms: workspaces.Workspaces,
        log: Callable[[str], None],
    ) -> None:
        self._running = running
        """By name, every attempt of which something may live; the confinement sees it too."""
        self._confinement = confinement
        self._log = log
        self._rooms = rooms
        self._spawner = spawn.Spawner(confinement.tree, rooms)
        self._ledger = ledger.Ledger(log)
        self._leftovers = leftovers.Leftovers(self._ledger, log)
        self._overruns = overruns.Overruns(confinement.memory)
        self._pending: deque[wire.Job] = deque()
        self._by_pid: dict[int, Attempt] = {}
        self._settling: dict[str, Attempt] = {}
        """By name, those that were killed, or ended, and are not seen to be gone."""

    def is_idle(self) -> bool:
        """Whether there is nothing to watch, to start, to end or to write."""
        waiting = (self._leftovers.due_at(), self._ledger.due_at())
        return not self._running and not self._pending and waiting == (None, None)

    def take(self, order: wire.Order) -> None:
        """Do what the server asks for; the order is in form."""
        if "launch" in order:
            self._pending.append(order["launch"])
        for adoption in order.get("adopt", ()):
            self._adopt(adoption["name"], adoption["folder"])
        for name in order.get("cancel", ()):
            self._cancel(name)

    def take_news(self) -> list[wire.Fact]:
        """Return what happened since the last call."""
        return self._ledger.take_news()

    def start_some(self, limit: int) -> None:
        """Start at most so many of those that wait, so that ends are seen in between."""
        for _ in range(min(limit, len(self._pending))):
            self._start(self._pending.popleft())

    def reap(self) -> None:
        """Take the exit statuses of children that have ended, adopted orphans among them."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            attempt = self._by_pid.pop(pid, None)
            if attempt is not None:
                attempt.wait_status = status
                attempt.peak_bytes = usage.ru_maxrss * 1024
                attempt.cpu_seconds = usage.ru_utime + usage.ru_stime
                self._settle(attempt)

    def tick(self, now: float) -> None:
        """Do what is due at this moment of the monotonic clock."""
        for attempt, cause in self._overruns.found(now):
            self._stop(attempt, cause)
        for attempt in list(self._settling.values()):
            self._settle(attempt)
        self._leftovers.tick(now)
        self._ledger.retry(now)

    def due_at(self, now: float) -> float | None:
        """When `tick` or `start_some` has something to do; None = when something happens."""
        moments = [self._overruns.due_at(), self._leftovers.due_at(), self._ledger.due_at()]
        if self._pending:
            moments.append(now)
        if self._settling:
            moments.append(now + _SETTLE_SECONDS)
        return min((moment for moment in moments if moment is not None), default=None)

    def stop_all(self, reason: str) -> None:
        """End every attempt as lost; forget those that were not started."""
        self._pending.clear()
        for attempt in list(self._running.values()):
            attempt.lost_reason = reason
            self._stop(attempt, "NONE")

    def close(self) -> None:
        """Give everything back; the supervisor is idle."""
        self._spawner.close()
        self._confinement.close()
        self._rooms.close()

    def _start(self, job: wire.Job) -> None:
        if self._is_known(job["name"], job["folder"]):
            return
        try:
            attempt = self._spawner.start(job)
        except (OSError, ValueError) as error:
            self._ledger.record(job["folder"], facts.not_started(job["name"], error))
            return
        crashing.point("runner.spawned")
        self._running[attempt.name] = self._by_pid[attempt.pid] = attempt
        self._overruns.watch(attempt)
        self._ledger.tell(facts.started(attempt))
        self._hold(attempt)

    def _hold(self, attempt: Attempt) -> None:
        try:
            records.write_process(attempt.folder, attempt.name, attempt.pid, attempt.spawned_at)
        except OSError as error:  # JOB_WORKSPACE still tells whose process it is
            self._log(f"event=no_process_record attempt={attempt.name} errno={error.errno}")
        try:
            if attempt.memory_bytes:
                self._confinement.memory.limit(attempt)
        except OSError as error:
            self._log(f"event=no_memory_limit attempt={attempt.name} errno={error.errno}")
            attempt.lost_reason = "its memory could not be limited"
            self._stop(attempt, "NONE")

    def _is_known(self, name: str, folder: str) -> bool:
        """Whether the attempt was here before; if so, what becomes of it is told."""
        if self._is_held(name):
            return True
        if records.is_new(folder):
            return False
        self._leftovers.take(name, folder)
        return True

    def _is_held(self, name: str) -> bool:
        """Whether this runner has the attempt, which is told now or when it ends."""
        attempt = self._running.get(name)
        if attempt is not None:
            self._ledger.tell(facts.started(attempt))
            return True
        return self._leftovers.knows(name) or self._ledger.is_waiting_for(name)

    def _adopt(self, name: str, folder: str) -> None:
        is_pending = any(job["name"] == name for job in self._pending)
        if not is_pending and not self._is_held(name):
            self._leftovers.take(name, folder)

    def _cancel(self, name: str) -> None:
        attempt = self._running.get(name)
        if attempt is not None:
            self._stop(attempt, "CANCELLED")
            return
        job = next((job for job in self._pending if job["name"] == name), None)
        if job is None:
            return
        self._pending.remove(job)
        if self._is_known(name, job["folder"]):
            return
        end = facts.cancelled_unstarted(name)
        try:
            records.make_ended_folder(job["folder"], job["params"])
        except (OSError, ValueError) as error:
            end = facts.not_started(name, error)
        self._ledger.record(job["folder"], end)

    def _stop(self, attempt: Attempt, cause: str) -> None:
        """Kill the whole tree; the first cause stands."""
        if attempt.cause == "NONE":
            attempt.cause = cause
        self._confinement.tree.kill(attempt)
        self._settling[attempt.name] = attempt

    def _settle(self, attempt: Attempt) -> None:
        """End the attempt if its main process has ended and nothing else of it lives."""
        status = attempt.wait_status
        if status is None or not self._confinement.tree.is_gone(attempt):
            self._settling[attempt.name] = attempt
            return
        limits = self._confinement.memory
        exceeded = attempt.memory_bytes > 0 and limits.is_exceeded(attempt)
        self._settling.pop(attempt.name, None)
        self._overruns.forget(attempt)
        del self._running[attempt.name]
        self._confinement.release(attempt)
        self._rooms.take(attempt.workspace)
        if attempt.cause != "NONE" or attempt.lost_reason:
            self._log(f"event=stopped attempt={attempt.name} cause={attempt.cause}")
        end = (
            facts.lost(attempt.name, attempt.lost_reason)
            if attempt.lost_reason
            else facts.exited(attempt, status, exceeded=exceeded)
        )
        self._ledger.record(attempt.folder, end)
