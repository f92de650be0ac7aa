"""The versions that were loaded: by this server, by earlier ones, and by others that share them.

Promises: a version counts when its record is on disk and its snapshot is there, and it goes on
counting whatever becomes of its method. Of one name the version with the highest order is the
newest. One caller at a time, who has the turn (`methods.turns`); `find` alone may be called by any
thread at any time.
"""

import collections
import datetime

from dshpc_server import disk
from dshpc_server.methods import errors, folder, method, records, snapshots

Key = tuple[str, str]
"""A name and a function_hash."""


class Versions:
    """What is on record, and which of it can run."""

    def __init__(self, recorded: records.Records, copies: snapshots.Snapshots) -> None:
        self._records = recorded
        self._snapshots = copies
        self._known: dict[Key, records.Record] = {}
        self._newest: dict[str, int] = collections.defaultdict(int)
        """The order of each name's newest version; 0 for a name that has none."""
        self._usable: set[Key] = set()
        self._checked: set[Key] = set()
        """What was looked at when its record was read, usable or not."""
        self._made: dict[Key, tuple[records.Record, method.MethodVersion]] = {}

    def read(self) -> list[folder.BrokenManifest]:
        """Take up what was recorded since the last time; return what cannot be."""
        readable, unreadable = self._records.read_new()
        for record in readable:
            if self._known.get(_key(record)) != record:
                self._know(record)
                self._checked.discard(_key(record))
        return [folder.BrokenManifest(file=error.file, reason=error.reason) for error in unreadable]

    def remember(
        self, found: folder.Found, function_hash: str, now: datetime.datetime, *, is_new_here: bool
    ) -> None:
        """Record a version whose snapshot was taken; one that is new here becomes the newest.

        Where another server's folder holds something newer, both keep what they have, and do not
        outdo each other with every load.
        """
        before = self._known.get((found.manifest.name, function_hash))
        newest = self._newest[found.manifest.name]
        keeps_order = before and (before.order == newest or not is_new_here)
        record = records.Record(
            name=found.manifest.name,
            function_hash=function_hash,
            document=found.document,
            created_at=before.created_at if before else now,
            order=before.order if before and keeps_order else newest + 1,
        )
        if record != before:
            self._records.write(record)
            self._know(record)
        self._usable.add(_key(record))

    def check(self) -> list[folder.BrokenManifest]:
        """Take up what others have loaded whose snapshot is as it was; return what is damaged."""
        damaged = []
        for key, record in self._known.items():
            if key in self._usable or key in self._checked:
                continue
            reason = "its snapshot is damaged, and the source is gone"
            try:
                is_intact = self._intact(record) is not None
                self._checked.add(key)
            except OSError as error:  # the next load looks at it again
                is_intact, reason = False, errors.reason(error)
            if is_intact:
                self._usable.add(key)
            else:
                damaged.append(folder.BrokenManifest(file=self._records.file(*key), reason=reason))
        return damaged

    def newest_first(self) -> list[method.MethodVersion]:
        """Every version that can run, each name's newest before its older ones."""
        known = sorted(self._known.items(), key=lambda item: -item[1].order)
        return [self._version(record) for key, record in known if key in self._usable]

    def find(self, name: str, function_hash: str) -> method.MethodVersion | None:
        """Read one version from disk; None when there is none that can run.

        NoAnswerError when the disk does not say.
        """
        try:
            with disk.asked():
                record = self._records.find(name, function_hash)
                return None if record is None else self._intact(record)
        except errors.UnreadableError as error:
            raise disk.no_answer(error.reason) from error

    def _know(self, record: records.Record) -> None:
        self._known[_key(record)] = record
        self._newest[record.name] = max(self._newest[record.name], record.order)

    def _intact(self, record: records.Record) -> method.MethodVersion | None:
        version = record.version(self._snapshots.path(record.function_hash))
        return version if self._snapshots.is_intact(record.function_hash, version) else None

    def _version(self, record: records.Record) -> method.MethodVersion:
        """Return the version of a record; of an old record the one that was made before."""
        key = _key(record)
        if key not in self._made or self._made[key][0] is not record:
            version = record.version(self._snapshots.path(record.function_hash))
            self._made[key] = (record, version)
        return self._made[key][1]


def _key(record: records.Record) -> Key:
    return record.name, record.function_hash
