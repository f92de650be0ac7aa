"""The catalog: which methods there are, in which versions.

    METHODS_DIR/commands/*.json      manifests; see `methods.manifest`
    METHODS_DIR/scripts/NAME/        the code of the method called NAME
    SNAPSHOTS_DIR/trees/HASH/        read-only copies; see `methods.snapshots`
    SNAPSHOTS_DIR/versions/NAME/     what was loaded; see `methods.records`

Promises: a broken method is reported and left out, and the others load. Readers see one state at a
time: whoever takes `current()` once resolves all names in it against one load. A version that was
loaded stays readable and runnable after a newer one, after its method's removal and after a
restart. Loading an older content again makes it the newest.
"""

import collections
import dataclasses
import pathlib
import threading
import types
from collections.abc import Mapping
from typing import Any

from dshpc_server.clock import Clock
from dshpc_server.methods import errors, manifest, method, records, snapshots

_Key = tuple[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BrokenManifest:
    """Something that was left out of a load."""

    file: pathlib.Path
    reason: str


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
    broken: tuple[BrokenManifest, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """What readers see; never changed, only replaced."""

    current: Mapping[str, method.MethodVersion]
    by_name: Mapping[str, tuple[method.MethodVersion, ...]]
    by_key: Mapping[_Key, method.MethodVersion]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A manifest that could be read."""

    file: pathlib.Path
    document: dict[str, Any]
    manifest: method.Manifest


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

    def load(self) -> LoadReport:
        """Read the methods folder; for the first time and again.

        Raises MethodsDirError, and changes nothing, when the folder as a whole cannot be read.
        """
        with self._loading:
            found, broken = self._find()
            self._snapshots.remove_leftovers()
            known, unreadable = self._remembered()
            current: dict[str, str] = {}
            for one in found:
                try:
                    current[one.manifest.name] = self._load_one(one, known)
                except (errors.TreeError, OSError) as error:
                    broken.append(BrokenManifest(file=one.file, reason=_reason(error)))
            if self._known is None:
                broken += unreadable + self._check_old(known)
                self._known = known
            return self._publish(current, known, broken)

    def _find(self) -> tuple[list[_Found], list[BrokenManifest]]:
        found: dict[str, list[_Found]] = collections.defaultdict(list)
        broken = []
        for file in self._manifest_files():
            try:
                document = manifest.document(file)
                parsed = manifest.parse(document, file)
            except errors.ManifestError as error:
                broken.append(BrokenManifest(file=file, reason=error.reason))
            else:
                one = _Found(file=file, document=document, manifest=parsed)
                found[parsed.name].append(one)
        for name, same in found.items():
            if len(same) > 1:
                files = ", ".join(one.file.name for one in same)
                reason = f"name '{name}' is in several manifests: {files}"
                broken += [BrokenManifest(file=one.file, reason=reason) for one in same]
        return [same[0] for same in found.values() if len(same) == 1], broken

    def _manifest_files(self) -> list[pathlib.Path]:
        try:
            # An empty folder is a site without methods yet; a missing one is a mistake.
            commands = self._methods_dir / "commands"
            if commands not in self._methods_dir.iterdir():
                return []
            files = sorted(commands.iterdir())
        except OSError as error:
            raise errors.MethodsDirError(self._methods_dir, _reason(error)) from error
        return [file for file in files if file.suffix == ".json" and file.name[0] != "."]

    def _remembered(self) -> tuple[dict[_Key, records.Record], list[BrokenManifest]]:
        if self._known is not None:
            return self._known, []
        readable, unreadable = self._records.read()
        return (
            {(record.name, record.function_hash): record for record in readable},
            [BrokenManifest(file=error.file, reason=error.reason) for error in unreadable],
        )

    def _load_one(self, found: _Found, known: dict[_Key, records.Record]) -> str:
        name = found.manifest.name
        source = self._methods_dir / "scripts" / name
        function_hash = self._snapshots.take(source, found.manifest)
        before = known.get((name, function_hash))
        newest = max((r.order for r in known.values() if r.name == name), default=0)
        record = records.Record(
            name=name,
            function_hash=function_hash,
            document=found.document,
            created_at=before.created_at if before else self._clock.now(),
            order=newest if before and before.order == newest else newest + 1,
        )
        if record != before:
            self._records.write(record)
            known[(name, function_hash)] = record
        self._usable.add((name, function_hash))
        return function_hash

    def _check_old(self, known: Mapping[_Key, records.Record]) -> list[BrokenManifest]:
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
                damaged.append(BrokenManifest(file=self._records.file(*key), reason=reason))
        return damaged

    def _publish(
        self,
        current: Mapping[str, str],
        known: Mapping[_Key, records.Record],
        broken: list[BrokenManifest],
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
                by_key[key] = record.version(self._snapshots.path(record.function_hash))
                by_name[record.name].append(by_key[key])
        return _State(
            current=types.MappingProxyType(
                {name: by_key[(name, current[name])] for name in sorted(current)}
            ),
            by_name={name: tuple(newest_first) for name, newest_first in by_name.items()},
            by_key=by_key,
        )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
