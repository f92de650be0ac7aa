"""Putting right what can be put right without guessing. The store is nobody else's meanwhile.

Promises: damaged content is never removed, only moved to the quarantine; what would have to be
guessed is left, and what the disk does not tell of; after each step, also one that is cut off, the
store is one that servers can work with. A result whose output is lost is forgotten, so that its job
runs again when it is asked for.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import pathlib
from collections.abc import Callable
from typing import Protocol, TypeVar

from dshpc_server import disk, errors
from dshpc_server.batches import scratch
from dshpc_server.checking import contents, folders
from dshpc_server.checking.findings import Finding
from dshpc_server.files import partial, stored
from dshpc_server.store import inspection, port, records

T = TypeVar("T")
QUARANTINE = "quarantine"
"""Where damaged content goes, below the data folder."""
_FORGOTTEN = (
    "forgotten; an output is computed again when it is asked for, a file can be uploaded again"
)

_NOT_SAFELY = "this cannot be repaired safely"
_BY_A_SERVER = "the next server that can take it over sees to it"
_A_SERVERS = {folders.FOLDER.name, "owner_lives"}


class Repairable(port.Store, inspection.Inspection, Protocol):
    """A store that can be looked over, and put right."""

    def make_index(self, name: str) -> bool:
        """Make an index that is missing; answer whether that could be done."""
        ...

    def correct_size(self, file_hash: str, size_bytes: int) -> None:
        """Put right what is recorded of content that was measured."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a finding."""

    is_repaired: bool
    what: str
    """What was done, or why nothing was; for people."""


class Repair:
    """Knows what to do about which rule."""

    def __init__(
        self,
        store: Repairable,
        data_dir: pathlib.Path,
        *,
        without_output: Callable[[bytes], bytes],
        lives: Callable[[pathlib.Path], bool],
    ) -> None:
        """`lives` tells whether a process of an attempt's folder is there, or shows itself."""
        self._store = store
        self._data_dir = data_dir
        self._stored = stored.Stored(data_dir / "files")
        self._without_output = without_output
        self._lives = lives
        self._actions: dict[str, Callable[[Finding], str]] = {
            contents.HASH.name: self._put_away,
            contents.THERE.name: self._forget,
            contents.RECORDED.name: self._record,
            contents.SIZE.name: self._correct_size,
            contents.READ_ONLY.name: self._protect,
            contents.UPLOAD.name: self._remove_upload,
            folders.ATTEMPT.name: self._remove_folder,
            "deletion_is_finished": self._finish_deleting,
            "answer_has_a_record": self._record_answer,
            "index_is_there": self._make_index,
        }

    @property
    def rules(self) -> frozenset[str]:
        """The rules whose breaches can be put right."""
        return frozenset(self._actions)

    def repair(self, finding: Finding) -> Outcome:
        """Put it right if that can be done; say what was done, or why not."""
        action = self._actions.get(finding.rule.name)
        if action is None:
            is_a_servers = finding.rule.name in _A_SERVERS
            return Outcome(is_repaired=False, what=_BY_A_SERVER if is_a_servers else _NOT_SAFELY)
        try:
            return Outcome(is_repaired=True, what=action(finding))
        except errors.InUseError as error:
            return Outcome(is_repaired=False, what=f"{error}; cancel that first")
        except _LeftError as error:
            return Outcome(is_repaired=False, what=str(error))
        except (OSError, ValueError, errors.UnavailableError) as error:
            return Outcome(is_repaired=False, what=f"it cannot be done: {error}")

    def _put_away(self, finding: Finding) -> str:
        """Move damaged content to the quarantine, and forget it.

        In one transaction: were it marked before it is moved, and that cut off, then a server would
        end the deletion, and remove it. Cut off after the move it is gone, and forgotten as such.
        """
        file_hash = finding.name
        # One that lies whole in a result, too, is written to disk again when it is wanted.
        if self._store.find_outputs([file_hash]):
            target = self._quarantine(self._stored.path(file_hash))
            return f"moved to {QUARANTINE}/{target.name}; it lies whole in a result"
        moved: list[pathlib.Path] = []  # also by a run of this that had to be made again

        def put_away(writer: port.Writer) -> None:
            writer.delete_file(file_hash, self._without_output)  # unless a job needs it
            if not moved:
                moved.append(self._quarantine(self._stored.path(file_hash)))
            writer.forget_file(file_hash)

        self._write(put_away)
        return f"moved to {QUARANTINE}/{moved[0].name} and {_FORGOTTEN}"

    def _forget(self, finding: Finding) -> str:
        if not self._stored.missing([finding.name]):
            raise _LeftError("it is there again")
        self._begin_deleting(finding.name)
        self._write(lambda writer: writer.forget_file(finding.name))
        return _FORGOTTEN

    def _finish_deleting(self, finding: Finding) -> str:
        self._begin_deleting(finding.name)
        self._stored.remove([finding.name])
        self._write(lambda writer: writer.forget_file(finding.name))
        return "its deletion is finished"

    def _record(self, finding: Finding) -> str:
        self._put_record(finding.name)
        return "recorded"

    def _record_answer(self, finding: Finding) -> str:
        which = dict(finding.which)
        (output_hash,) = (
            result.output_hash
            for result in self._store.results([str(which["job"])])
            if result.key.number == which["attempt"]
        )
        if not self._stored.missing([output_hash]):
            self._put_record(output_hash)
            return "recorded"
        self._begin_deleting(output_hash)
        self._write(lambda writer: writer.forget_file(output_hash))
        return "forgotten, for its output is gone; it runs again when it is asked for"

    def _correct_size(self, finding: Finding) -> str:
        size_bytes = self._stored.path(finding.name).stat().st_size
        self._store.correct_size(finding.name, size_bytes)
        return f"recorded as {size_bytes} bytes"

    def _protect(self, finding: Finding) -> str:
        with contextlib.suppress(FileNotFoundError):  # it was put away
            self._stored.path(finding.name).chmod(partial.MODE)
        return "made read-only"

    def _remove_upload(self, finding: Finding) -> str:
        (self._data_dir / finding.name).unlink(missing_ok=True)
        return "removed"

    def _remove_folder(self, finding: Finding) -> str:
        folder = self._data_dir / finding.name
        if self._lives(folder):
            raise _LeftError("a process of it runs")
        asyncio.run(scratch.remove(folder))
        with contextlib.suppress(OSError):  # others of that job, or of that letter, are there
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
        return "removed"

    def _make_index(self, finding: Finding) -> str:
        if not self._store.make_index(finding.name):
            raise _LeftError("there are rows that it does not allow")
        return "made"

    def _begin_deleting(self, file_hash: str) -> None:
        self._write(lambda writer: writer.delete_file(file_hash, self._without_output))

    def _put_record(self, file_hash: str) -> None:
        status = self._stored.path(file_hash).stat()
        stored_at = datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC)
        record = records.FileRecord(
            file_hash=file_hash,
            size_bytes=status.st_size,
            filename="",
            media_type="",
            created_at=stored_at,
            last_used_at=stored_at,
        )
        self._write(lambda writer: writer.put_file(record))

    def _quarantine(self, path: pathlib.Path) -> pathlib.Path:
        folder = self._data_dir / QUARANTINE
        disk.make_folder(folder, 0o700)
        target = folder / path.name
        number = 1
        while disk.status(target) is not None:
            number += 1
            target = folder / f"{path.name}.{number}"
        path.rename(target)
        for changed in (folder, path.parent):
            disk.fsync_folder(changed)
        return target

    def _write(self, work: Callable[[port.Writer], T]) -> T:
        (answer,) = self._store.write([work]).answers
        if isinstance(answer, Exception):
            raise answer
        return answer


class _LeftError(Exception):
    """It is left as it is, and why."""
