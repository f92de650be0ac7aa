"""The catalog: which methods there are, in which versions.

    METHODS_DIR/commands/*.json      manifests; see `methods.manifest`
    METHODS_DIR/scripts/NAME/        the code of the method called NAME
    SNAPSHOTS_DIR/trees/HASH/        read-only copies; see `methods.snapshots`
    SNAPSHOTS_DIR/versions/NAME/     what was loaded; see `methods.records`

Promises: a broken method is reported and left out, and the others load; one that cannot be taken up
for want of room or descriptors is reported and stays what it was. Readers see one state at a
time: whoever takes `current()` once resolves all names in it against one load. A version that was
loaded stays readable and runnable after a newer one, after its method's removal and after a
restart. Loading an older content again makes it the newest.
"""

import collections
import dataclasses
import errno
import pathlib
import threading
import types
from collections.abc import Mapping
from typing import Any

from dshpc_server.clock import Clock
from dshpc_server.methods import errors, folder, marks, method, records, snapshots

_Key = tuple[str, str]
# What the machine is short of for the moment says nothing about a method.
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """What a load found."""

    loaded: tuple[method.MethodVersion, ...]
    """Every current version, by name."""
    added: tuple[str, ...]
    """Names that are current and were not before."""
    changed: tuple[str, ...]
    """Names whose current version has another hash than before."""
    removed: tuple[str, ...]
    """Names that were current before and are not, broken ones included."""
    broken: tuple[folder.BrokenManifest, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """What readers see; never changed, only replaced."""

    current: Mapping[str, method.MethodVersion]
    by_name: Mapping[str, tuple[method.MethodVersion, ...]]
    by_key: Mapping[_Key, method.MethodVersion]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A script folder that was hashed, and what it looked like then."""

    mark: marks.Mark
    document: dict[str, Any]
    function_hash: str


_NOTHING: Mapping[Any, Any] = types.MappingProxyType({})


class Catalog:
    """The installed methods. `load` blocks and may be called again at any time; reading never does.

    `snapshots_dir` belongs to one server.
    """

    def __init__(
        self, methods_dir: pathlib.Path, snapshots_dir: pathlib.Path, clock: Clock
    ) -> None:
        self._methods_dir = methods_dir
        self._clock = clock
        self._snapshots = snapshots.Snapshots(snapshots_dir.absolute() / "trees")
        self._records = records.Records(snapshots_dir.absolute() / "versions")
        self._loading = threading.Lock()
        self._known: dict[_Key, records.Record] | None = None
        self._usable: set[_Key] = set()
        self._seen: dict[str, _Seen] = {}
        self._made: dict[_Key, tuple[records.Record, method.MethodVersion]] = {}
        self._state = _State(current=_NOTHING, by_name=_NOTHING, by_key=_NOTHING)

    def current(self) -> Mapping[str, method.MethodVersion]:
        """Return the newest version of every installed method, by name, as of the last load."""
        return self._state.current

    def versions(self, name: str) -> tuple[method.MethodVersion, ...]:
        """Every version that was loaded under this name, the newest first."""
        return self._state.by_name.get(name, ())

    def version(self, name: str, function_hash: str) -> method.MethodVersion | None:
        """One version, current or not."""
        return self._state.by_key.get((name, function_hash))

    def load(self, *, skip_unchanged: bool = False) -> LoadReport:
        """Read the methods folder; for the first time and again.

        With `skip_unchanged`, script folders that have not changed since they were hashed (see
        `methods.marks`) are not read, nor are their snapshots checked: for 200 methods of 50 small
        files a fifth of the work, and far less for large ones. Raises MethodsDirError, and changes
        nothing, when the folder as a whole cannot be read.
        """
        with self._loading:
            found, broken = folder.find(self._methods_dir)
            self._snapshots.remove_leftovers()
            known, unreadable = self._remembered()
            newest = _newest_orders(known)
            current: dict[str, str] = {}
            for one in found:
                name = one.manifest.name
                try:
                    current[name] = self._hash(one, skip_unchanged=skip_unchanged)
                    self._remember(one, current[name], known, newest[name])
                except (errors.TreeError, OSError) as error:
                    current.pop(name, None)
                    if _is_shortage(error) and name in self._state.current:
                        # Nothing is wrong with the method: it stays what it was.
                        current[name] = self._state.current[name].function_hash
                    reason = errors.reason(error)
                    broken.append(folder.BrokenManifest(file=one.file, reason=reason))
            if self._known is None:
                broken += unreadable + self._check_old(known)
                self._known = known
            return self._publish(current, known, broken)

    def _remembered(self) -> tuple[dict[_Key, records.Record], list[folder.BrokenManifest]]:
        if self._known is not None:
            return self._known, []
        readable, unreadable = self._records.read()
        return (
            {(record.name, record.function_hash): record for record in readable},
            [folder.BrokenManifest(file=error.file, reason=error.reason) for error in unreadable],
        )

    def _hash(self, found: folder.Found, *, skip_unchanged: bool) -> str:
        """Return the function_hash; its snapshot is there."""
        name = found.manifest.name
        source = self._methods_dir / "scripts" / name
        now, mark, seen = self._clock.now(), marks.of(source), self._seen.pop(name, None)
        if (
            skip_unchanged
            and seen is not None
            and (seen.mark, seen.document) == (mark, found.document)
            and self._snapshots.path(seen.function_hash).is_dir()
        ):
            self._seen[name] = seen
            return seen.function_hash
        function_hash = self._snapshots.take(source, found.manifest)
        if mark is not None and mark.is_settled(now):
            self._seen[name] = _Seen(
                mark=mark, document=found.document, function_hash=function_hash
            )
        return function_hash

    def _remember(
        self,
        found: folder.Found,
        function_hash: str,
        known: dict[_Key, records.Record],
        newest: int,
    ) -> None:
        key = (found.manifest.name, function_hash)
        before = known.get(key)
        record = records.Record(
            name=found.manifest.name,
            function_hash=function_hash,
            document=found.document,
            created_at=before.created_at if before else self._clock.now(),
            order=newest if before and before.order == newest else newest + 1,
        )
        if record != before:
            self._records.write(record)
            known[key] = record
        self._usable.add(key)

    def _check_old(self, known: Mapping[_Key, records.Record]) -> list[folder.BrokenManifest]:
        """Take up the versions of earlier runs whose snapshot is as it was."""
        damaged = []
        for key, record in known.items():
            if key in self._usable:
                continue
            version = record.version(self._snapshots.path(record.function_hash))
            if self._snapshots.is_intact(record.function_hash, version):
                self._usable.add(key)
            else:
                reason = "its snapshot is damaged, and the source is gone"
                damaged.append(folder.BrokenManifest(file=self._records.file(*key), reason=reason))
        return damaged

    def _publish(
        self,
        current: Mapping[str, str],
        known: Mapping[_Key, records.Record],
        broken: list[folder.BrokenManifest],
    ) -> LoadReport:
        before = self._state.current
        state = self._new_state(current, known)
        self._state = state
        now = state.current
        both = now.keys() & before.keys()
        return LoadReport(
            loaded=tuple(now.values()),
            added=tuple(sorted(now.keys() - before.keys())),
            changed=tuple(
                sorted(n for n in both if now[n].function_hash != before[n].function_hash)
            ),
            removed=tuple(sorted(before.keys() - now.keys())),
            broken=tuple(broken),
        )

    def _new_state(
        self, current: Mapping[str, str], known: Mapping[_Key, records.Record]
    ) -> _State:
        by_key = {}
        by_name: dict[str, list[method.MethodVersion]] = collections.defaultdict(list)
        for record in sorted(known.values(), key=lambda record: -record.order):
            key = (record.name, record.function_hash)
            if key in self._usable:
                by_key[key] = self._version(record)
                by_name[record.name].append(by_key[key])
        return _State(
            current=types.MappingProxyType(
                {name: by_key[(name, current[name])] for name in sorted(current)}
            ),
            by_name={name: tuple(newest_first) for name, newest_first in by_name.items()},
            by_key=by_key,
        )

    def _version(self, record: records.Record) -> method.MethodVersion:
        """Return the version of a record; of an old record the one that was made before."""
        key = (record.name, record.function_hash)
        if key not in self._made or self._made[key][0] is not record:
            version = record.version(self._snapshots.path(record.function_hash))
            self._made[key] = (record, version)
        return self._made[key][1]


def _is_shortage(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _SHORTAGE


def _newest_orders(known: Mapping[_Key, records.Record]) -> Mapping[str, int]:
    """The order of each name's newest version; 0 for a name that has none."""
    newest: dict[str, int] = collections.defaultdict(int)
    for record in known.values():
        newest[record.name] = max(newest[record.name], record.order)
    return newest
