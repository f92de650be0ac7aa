"""The catalog: which methods there are, in which versions.

    METHODS_DIR/commands/*.json      manifests; see `methods.manifest`
    METHODS_DIR/scripts/NAME/        the code of the method called NAME
    SNAPSHOTS_DIR/trees/HASH/        read-only copies; see `methods.snapshots`
    SNAPSHOTS_DIR/versions/NAME/     what was loaded; see `methods.records`

Promises: a broken method is reported and left out, and the others load; one that cannot be read or
taken up because of the disk, or for want of descriptors, is reported and stays what it was. Readers
see one state at a time: whoever takes `current()` once resolves all names in it against one load. A
version that was loaded stays readable and runnable after a newer one, after its method's removal
and after a restart. Loading an older content again makes it the newest. Servers may share
SNAPSHOTS_DIR: what one of them has loaded, all can run, whatever their own methods folder holds.
"""

import collections
import dataclasses
import pathlib
import threading
import types
from collections.abc import Mapping, Sequence
from typing import Any

from dshpc_server import disk
from dshpc_server.clock import Clock
from dshpc_server.methods import (
    errors,
    folder,
    hashed,
    method,
    records,
    snapshots,
    turns,
    versions,
)


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
    by_key: Mapping[versions.Key, method.MethodVersion]


_NOTHING: Mapping[Any, Any] = types.MappingProxyType({})


class Catalog:
    """The installed methods. `load` blocks and may be called again at any time; reading never does.

    Any thread may call.
    """

    def __init__(
        self, methods_dir: pathlib.Path, snapshots_dir: pathlib.Path, clock: Clock
    ) -> None:
        self._methods_dir = methods_dir
        self._snapshots_dir = snapshots_dir.absolute()
        self._clock = clock
        self._snapshots = snapshots.Snapshots(self._snapshots_dir / "trees")
        self._versions = versions.Versions(
            records.Records(self._snapshots_dir / "versions"), self._snapshots
        )
        self._hashed = hashed.Hashed(methods_dir / "scripts", self._snapshots, clock)
        self._loading = threading.Lock()
        self._names: dict[pathlib.Path, str] = {}
        """Which method each manifest was of, when it was last read."""
        self._found: dict[versions.Key, method.MethodVersion] = {}
        """What other servers have loaded since, as far as it was asked for."""
        self._state = _State(current=_NOTHING, by_name=_NOTHING, by_key=_NOTHING)

    def current(self) -> Mapping[str, method.MethodVersion]:
        """Return the newest version of every installed method, by name, as of the last load."""
        return self._state.current

    def versions(self, name: str) -> tuple[method.MethodVersion, ...]:
        """Every version that was loaded under this name, the newest first."""
        return self._state.by_name.get(name, ())

    def version(self, name: str, function_hash: str) -> method.MethodVersion | None:
        """One version, current or not; of another server's, those of the last load."""
        key = (name, function_hash)
        return self._state.by_key.get(key) or self._found.get(key)

    def find(self, name: str, function_hash: str) -> method.MethodVersion | None:
        """One version, current or not, also one that another server has just loaded.

        Blocks where `version` does not know it: the record is read, and its snapshot checked.
        NoAnswerError when the disk does not say.
        """
        known = self.version(name, function_hash)
        if known is not None:
            return known
        found = self._versions.find(name, function_hash)
        if found is not None:
            return self._found.setdefault((name, function_hash), found)
        if disk.status(self._snapshots_dir, follow=True) is None:  # a load has made it
            raise disk.no_answer("nothing is mounted there")
        return None

    def load(self, *, skip_unchanged: bool = False) -> LoadReport:
        """Read the methods folder; for the first time and again.

        With `skip_unchanged`, script folders that have not changed since they were hashed (see
        `methods.marks`) are not read, nor are their snapshots checked: for 200 methods of 50 small
        files a fifth of the work, and far less for large ones. Raises MethodsDirError, and changes
        nothing, when the folder as a whole cannot be read, or other servers do not let this one
        have its turn.
        """
        with self._loading:
            found, broken = folder.find(self._methods_dir)
            with turns.turn(self._snapshots_dir):
                try:
                    return self._load(found, broken, skip_unchanged=skip_unchanged)
                except OSError as error:
                    reason = errors.reason(error)
                    raise errors.MethodsDirError(self._snapshots_dir, reason) from error

    def _load(
        self,
        found: Sequence[folder.Found],
        broken: list[folder.BrokenManifest],
        *,
        skip_unchanged: bool,
    ) -> LoadReport:
        self._snapshots.remove_leftovers()
        unreadable = self._versions.read()
        current = self._unread(broken)
        for one in found:
            self._names[one.file] = one.manifest.name
            name = one.manifest.name
            try:
                current[name] = self._hashed.take(one, skip_unchanged=skip_unchanged)
                self._remember(one, current[name])
            except (errors.TreeError, OSError) as error:
                current.pop(name, None)
                if name in self._state.current and _says_nothing(error):
                    # Nothing is wrong with the method: it stays what it was.
                    current[name] = self._state.current[name].function_hash
                reason = errors.reason(error)
                broken.append(folder.BrokenManifest(file=one.file, reason=reason))
        broken += unreadable + self._versions.check()
        return self._publish(current, broken)

    def _unread(self, broken: Sequence[folder.BrokenManifest]) -> dict[str, str]:
        """What is current of the manifests that the disk did not give back: what was so before."""
        names = {self._names.get(each.file) for each in broken if each.is_unread}
        before = self._state.current
        return {name: version.function_hash for name, version in before.items() if name in names}

    def _remember(self, found: folder.Found, function_hash: str) -> None:
        before = self._state.current.get(found.manifest.name)
        is_new_here = before is None or before.function_hash != function_hash
        self._versions.remember(found, function_hash, self._clock.now(), is_new_here=is_new_here)

    def _publish(
        self,
        current: Mapping[str, str],
        broken: list[folder.BrokenManifest],
    ) -> LoadReport:
        before = self._state.current
        state = self._new_state(current)
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

    def _new_state(self, current: Mapping[str, str]) -> _State:
        by_key = {}
        by_name: dict[str, list[method.MethodVersion]] = collections.defaultdict(list)
        for version in self._versions.newest_first():
            by_key[(version.name, version.function_hash)] = version
            by_name[version.name].append(version)
        return _State(
            current=types.MappingProxyType(
                {name: by_key[(name, current[name])] for name in sorted(current)}
            ),
            by_name={name: tuple(newest_first) for name, newest_first in by_name.items()},
            by_key=by_key,
        )


def _says_nothing(error: Exception) -> bool:
    """Whether it is the machine's or its disk's, for the moment, and not about the method."""
    return isinstance(error, OSError) and not isinstance(error, disk.ABSENT)
