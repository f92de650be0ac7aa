"""The methods' versions: every record can be read, every snapshot is what was hashed."""

import pathlib
from collections.abc import Iterator, Sequence

from dshpc_server.checking import looks
from dshpc_server.checking.findings import Finding
from dshpc_server.methods import errors, records, snapshots
from dshpc_server.store.inspection import Rule

READABLE = Rule(name="version_is_readable", broken="the record of a method's version is damaged")
INTACT = Rule(
    name="snapshot_is_its_hash",
    broken="the copy of a method's version is damaged; it is made anew while the method is "
    "installed like that",
)


class Versions:
    """All of them at once: they are as many as an administrator has installed."""

    rules = looks.by_name(READABLE, INTACT, looks.SILENT)

    def __init__(self, methods_dir: pathlib.Path) -> None:
        """`methods_dir` is that of the data."""
        self._versions_dir = methods_dir / "versions"
        self._snapshots = snapshots.Snapshots(methods_dir / "trees")

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`; there is one name."""
        yield ["versions"]

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        readable, broken = records.Records(self._versions_dir).read_new()
        found = []
        for error in broken:
            rule = looks.SILENT if isinstance(error, errors.UnreadableError) else READABLE
            found.append(_found(rule, error.file.parent.name, error.file.stem))
        for record in readable:
            damage = self._damage(record)
            if damage is not None:
                found.append(_found(damage, record.name, record.function_hash))
        return [(name, finding) for name in names for finding in found]

    def _damage(self, record: records.Record) -> Rule | None:
        version = record.version(self._snapshots.path(record.function_hash))
        try:
            is_intact = self._snapshots.is_intact(record.function_hash, version)
        except OSError:
            return looks.SILENT
        return None if is_intact else INTACT


def _found(rule: Rule, name: str, function_hash: str) -> Finding:
    return Finding(rule=rule, which=(("method", name), ("version", function_hash)))
