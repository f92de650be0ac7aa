"""The versions that were ever loaded, one small file each: FOLDER/NAME/FUNCTION_HASH.json.

Promise: a record is on disk before its version is used, and is replaced as a whole. Two methods of
different names may have one hash, so a record is named by both.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
from typing import Any, TypeAlias

from dshpc_server import disk
from dshpc_server.domain import identity
from dshpc_server.methods import errors, manifest, method

_FORMAT = 1
_Mark: TypeAlias = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One version of one method."""

    name: str
    function_hash: str
    document: dict[str, Any]
    """The manifest as it was written when this version was last loaded."""
    created_at: datetime.datetime
    """When it was first loaded."""
    order: int
    """Highest for the newest version of the name; a clock that is set back changes nothing."""

    def version(self, directory: pathlib.Path) -> method.MethodVersion:
        """Return the method version, its snapshot being in `directory`."""
        parsed = manifest.parse(self.document, pathlib.Path(self.name))
        declared = {field.name: getattr(parsed, field.name) for field in dataclasses.fields(parsed)}
        return method.MethodVersion(
            **declared,
            function_hash=self.function_hash,
            directory=directory,
            created_at=self.created_at,
        )


class Records:
    """The folder of records. Whoever writes to it has the turn (`methods.turns`)."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._seen: dict[pathlib.Path, _Mark] = {}

    def file(self, name: str, function_hash: str) -> pathlib.Path:
        """Where the record of this version is, or would be."""
        return self._folder / name / f"{function_hash}.json"

    def find(self, name: str, function_hash: str) -> Record | None:
        """Read one record; None when there is none, or what is there is none. Needs no turn.

        UnreadableError when the disk does not give it back.
        """
        if not manifest.is_name(name) or not identity.is_hash(function_hash):
            return None
        try:
            return _read(self.file(name, function_hash))
        except errors.UnreadableError:
            raise
        except errors.ManifestError:
            return None

    def read_new(self) -> tuple[list[Record], list[errors.ManifestError]]:
        """Return what was written since the last call, and why some of it cannot be read.

        What the disk does not give back is looked at again by the next call. Raises OSError when
        it does not say what there is.
        """
        readable: list[Record] = []
        broken: list[errors.ManifestError] = []
        for file in _files(self._folder):
            try:
                mark = _mark(file)
                if self._seen.get(file) != mark:
                    readable.append(_read(file))
                self._seen[file] = mark
            except disk.ABSENT:
                continue
            except OSError as error:
                broken.append(errors.UnreadableError(file, errors.reason(error)))
            except errors.ManifestError as error:
                if not isinstance(error, errors.UnreadableError):
                    self._seen[file] = mark
                broken.append(error)
        return readable, broken

    def write(self, record: Record) -> None:
        """Store a record, durably, in place of the one before."""
        file = self.file(record.name, record.function_hash)
        new = file.with_name(f".{file.name}.new")
        disk.make_folder(file.parent)
        with new.open("w", encoding="utf-8") as stream:
            stream.write(_text(record))
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(file)
        disk.fsync_folder(file.parent)


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """List the records in the folders below this one, in order."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - a glob passes over what it cannot read
    except disk.ABSENT:
        return []
    files = []
    for name in names:
        with contextlib.suppress(*disk.ABSENT):
            files += [
                folder / name / each
                for each in sorted(os.listdir(folder / name))  # noqa: PTH208 - as above
                if each.endswith(".json") and not each.startswith(".")
            ]
    return files


def _mark(file: pathlib.Path) -> _Mark:
    # A record is never changed, only replaced.
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _text(record: Record) -> str:
    content = {
        "format": _FORMAT,
        "function_hash": record.function_hash,
        "created_at": record.created_at.isoformat(),
        "order": record.order,
        "manifest": record.document,
    }
    return json.dumps(content, indent=2) + "\n"


def _read(file: pathlib.Path) -> Record:
    content = manifest.document(file)
    if content.get("format") != _FORMAT:
        raise errors.ManifestError(file, f"format {content.get('format')!r} is not known")
    try:
        record = Record(
            name=file.parent.name,
            function_hash=content["function_hash"],
            document=content["manifest"],
            created_at=datetime.datetime.fromisoformat(content["created_at"]),
            order=int(content["order"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise errors.ManifestError(file, f"is not a version record: {error}") from error
    named = manifest.parse(record.document, file).name
    if (named, record.function_hash) != (record.name, file.stem):
        raise errors.ManifestError(file, "is the record of another version")
    if not identity.is_hash(record.function_hash):
        raise errors.ManifestError(file, "is not named by a hash")
    return record
