"""Script folders, hashed and copied; those that have not changed are passed over."""

import dataclasses
import pathlib
from typing import Any

from dshpc_server import clock
from dshpc_server.methods import folder, marks, snapshots


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A script folder that was hashed, and what it looked like then."""

    mark: marks.Mark
    document: dict[str, Any]
    function_hash: str


class Hashed:
    """The script folders of a methods folder. One caller at a time."""

    def __init__(
        self, scripts_dir: pathlib.Path, snapshots: snapshots.Snapshots, clock: clock.Clock
    ) -> None:
        self._scripts_dir = scripts_dir
        self._snapshots = snapshots
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def take(self, found: folder.Found, *, skip_unchanged: bool) -> str:
        """Return the function_hash; its snapshot is there."""
        name = found.manifest.name
        source = self._scripts_dir / name
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
