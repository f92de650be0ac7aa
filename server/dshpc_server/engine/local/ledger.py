"""Puts ends on record, then tells them. What cannot be written for want of room waits for it."""

import errno
import os
import time
from collections.abc import Callable

from dshpc_server import crashing
from dshpc_server.engine.local import facts, records, wire

_RETRY_SECONDS = 1.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Ledger:
    """The facts that are to be told, and the ends that are still to be written."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._news: list[wire.Fact] = []
        self._unwritten: dict[str, tuple[str, wire.Fact, bool]] = {}
        """By name what `record` was given."""
        self._retry_at = 0.0

    def tell(self, fact: wire.Fact) -> None:
        """Tell what needs no record, or has one."""
        self._news.append(fact)

    def record(self, folder: str, end: wire.Fact, *, makes_folder: bool = False) -> None:
        """Write an end to the attempt's folder, then tell it; `makes_folder` if there is none.

        On a full disk, or while the machine is short of something else, both wait. Where the
        folder cannot be written at all (somebody removed it) there is no record to stand by, so
        the attempt is told as lost, or as not started.
        """
        crashing.point("runner.before_record")
        try:
            if makes_folder:
                os.makedirs(folder, exist_ok=True)
            records.write_exit(folder, end)
            crashing.point("runner.recorded")
        except OSError as error:
            self._log(f"event=no_exit_record attempt={end['name']} errno={error.errno}")
            if error.errno in _NO_ROOM:
                self._unwritten[end["name"]] = (folder, end, makes_folder)
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                return
            if end["fact"] == "exited":
                end = facts.lost(end["name"], "its exit could not be recorded")
        self._news.append(end)

    def retry(self, now: float) -> None:
        """Try again to write what there was no room for, when it is time."""
        if self._unwritten and self._retry_at <= now:
            unwritten, self._unwritten = self._unwritten, {}
            for folder, end, makes_folder in unwritten.values():
                self.record(folder, end, makes_folder=makes_folder)

    def take_news(self) -> list[wire.Fact]:
        """Return what is to be told since the last call."""
        news, self._news = self._news, []
        return news

    def is_waiting_for(self, name: str) -> bool:
        """Whether the end of this attempt is still to be written."""
        return name in self._unwritten

    def due_at(self) -> float | None:
        """When to call `retry`; None when nothing waits."""
        return self._retry_at if self._unwritten else None
