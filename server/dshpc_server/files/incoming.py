"""What came of uploads that were cut off: at most one kept file for a hash, and who writes to it.

    INCOMING/HASH       what is kept of an upload of this hash
    INCOMING/…          temporary files
    INCOMING/….link     a second name of an output that is being taken in, beside a temporary file

Promises: one upload at a time holds the kept file; it is never made shorter but by an upload that
goes on from there, and never taken away while it is held. That holds for all servers that share the
folder: what one has in use is locked (`files.locks`), and the others leave it. Any thread may call.
"""

import contextlib
import datetime
import os
import pathlib
import stat
import threading
from collections.abc import Callable
from typing import Protocol

from dshpc_server import disk
from dshpc_server import errors as base_errors
from dshpc_server.domain import identity
from dshpc_server.files import errors, folders, locks, partial

LINK_SUFFIX = ".link"


class Holder(Protocol):
    """An upload, as it is known here."""

    @property
    def file_hash(self) -> str:
        """What it is an upload of."""
        ...

    @property
    def received_bytes(self) -> int:
        """How many bytes have come."""
        ...

    def has_stalled(self) -> bool:
        """Whether nothing has come for so long that its client may be gone."""
        ...

    def supersede(self) -> None:
        """Write no more; when this returns, it does not."""
        ...


class Incoming:
    """The folder of what is coming."""

    def __init__(self, folder: pathlib.Path, is_stored: Callable[[str], bool]) -> None:
        """Keep what can be gone on with or is in use; remove what else an earlier server left."""
        self.folder = folder
        self._is_stored = is_stored
        self._lock = threading.Lock()
        """Held for a moment only: nobody reads or writes content while holding it."""
        self._holders: dict[str, Holder] = {}
        """Of this server."""
        for left in folder.iterdir():
            # Another server's, and done with; or the disk does not say whether it is of use.
            with contextlib.suppress(FileNotFoundError, base_errors.NoAnswerError):
                self._clear(left)

    def begin(self, holder: Holder) -> partial.Partial:
        """Begin anew: as the kept file where there is none, else under another name."""
        with self._lock:
            if holder.file_hash not in self._holders:
                content = partial.Partial.new(self.folder / holder.file_hash)
                if content is not None:
                    self._holders[holder.file_hash] = holder
                    return content
        return partial.Partial.temporary(self.folder)

    def go_on(self, holder: Holder, check: Callable[[], None]) -> partial.Partial:
        """Go on from the holder's `received_bytes`, which are counted; `check` may end this.

        Who held the kept file and has stalled is superseded. While another upload makes progress,
        here or at another server, it is left alone, and what it has is copied. Raises
        WrongOffsetError when less is committed, StoredMeanwhileError when whoever held it has
        stored the whole.
        """
        offset = holder.received_bytes
        try:
            content = self._take_over(holder, offset)
            if content is None:
                return self._copy(holder, offset, check)
        except FileNotFoundError:
            self._check_committed(offset, holder.file_hash)
            raise errors.WrongOffsetError(offset, 0) from None
        try:
            content.go_on(offset, check)
        except OSError:
            # What the disk does not give back is of no use to anybody.
            self._drop(holder, content)
            raise
        except BaseException:
            content.close()
            self._release(holder)
            raise
        return content

    def grown(self, holder: Holder, content: partial.Partial) -> None:
        """Make this the kept file when it is longer than that, and nobody holds that."""
        with self._lock:
            if holder.file_hash not in self._holders and self._keep(holder, content):
                self._holders[holder.file_hash] = holder

    def end(self, holder: Holder, content: partial.Partial, *, keep: bool) -> None:
        """Leave the kept file, with this content if that is worth keeping, to whoever comes next.

        The content is not written to any more. What another has taken over is not touched.
        """
        path = self.folder / holder.file_hash
        with self._lock:
            current = self._holders.get(holder.file_hash)
            if current is holder:
                del self._holders[holder.file_hash]
            elif content.path == path:
                return
            try:
                keep = keep and content.size_bytes > 0 and not self._is_stored(holder.file_hash)
                is_kept = keep and content.path == path
                is_kept = is_kept or (keep and current is None and self._keep(holder, content))
                if not is_kept:
                    content.path.unlink(missing_ok=True)
            finally:
                content.let_go()

    def committed_bytes(self, file_hash: str) -> int:
        """How much an upload need not send again; a hint, where another server is at it."""
        with self._lock:
            return self._committed_bytes(file_hash)

    def is_coming(self, file_hash: str) -> bool:
        """Whether an upload of this makes progress at this server."""
        with self._lock:
            holder = self._holders.get(file_hash)
            return holder is not None and not holder.has_stalled()

    def forget(self, file_hash: str) -> bool:
        """Remove what is kept unless it is held; return whether there was anything."""
        with self._lock:
            return file_hash not in self._holders and _remove(self.folder / file_hash)

    def expire(self, before: datetime.datetime) -> list[str]:
        """Remove what nobody holds and was not written to since; return its hashes."""
        expired = [
            path.name for path in self.folder.iterdir() if self._expire(path, before.timestamp())
        ]
        return [name for name in expired if identity.is_hash(name)]

    def _clear(self, left: pathlib.Path) -> None:
        if not stat.S_ISREG(left.lstat().st_mode):
            left.unlink()
        elif not identity.is_hash(left.name) or self._is_stored(left.name):
            _remove(left)

    def _take_over(self, holder: Holder, offset: int) -> partial.Partial | None:
        """Hold the kept file; None while another upload makes progress with it."""
        file_hash = holder.file_hash
        with self._lock:
            self._check_committed(offset, file_hash)
            earlier = self._holders.get(file_hash)
            if earlier is not None and not earlier.has_stalled():
                return None
            self._holders[file_hash] = holder
        content = None
        try:
            # Not in the lock: it may be writing, or storing the whole.
            if earlier is not None:
                earlier.supersede()
            content = partial.Partial.kept(self.folder / file_hash)
        finally:
            if content is None:
                self._release(holder)
        if content is not None and self._is_stored(file_hash):
            # By who died before this name of it was gone: not to be written to.
            self._drop(holder, content)
            raise errors.StoredMeanwhileError(file_hash)
        return content

    def _copy(self, holder: Holder, offset: int, check: Callable[[], None]) -> partial.Partial:
        content = partial.Partial.temporary(self.folder)
        try:
            content.copy(self.folder / holder.file_hash, offset, check)
        except BaseException:
            content.discard()
            raise
        return content

    def _drop(self, holder: Holder, content: partial.Partial) -> None:
        try:
            self.end(holder, content, keep=False)
        finally:
            content.close()

    def _release(self, holder: Holder) -> None:
        with self._lock:
            if self._holders.get(holder.file_hash) is holder:
                del self._holders[holder.file_hash]

    def _keep(self, holder: Holder, content: partial.Partial) -> bool:
        """Make this the kept file if it is the longest; whether it is, and no other server's."""
        if content.size_bytes <= self._committed_bytes(holder.file_hash):
            return False
        path = self.folder / holder.file_hash
        try:
            with locks.taken(path) as others:
                if others is None:
                    return False
                content.path = content.path.rename(path)
        except FileNotFoundError:
            if not folders.name(content.path, path):
                return False
            content.path.unlink(missing_ok=True)
            content.path = path
        return True

    def _expire(self, path: pathlib.Path, before_seconds: float) -> bool:
        with self._lock, contextlib.suppress(FileNotFoundError):
            is_old = path.lstat().st_mtime < before_seconds
            return is_old and path.name not in self._holders and _remove(path, before_seconds)
        return False

    def _committed_bytes(self, file_hash: str) -> int:
        holder = self._holders.get(file_hash)
        if holder is not None:
            return holder.received_bytes
        found = disk.status(self.folder / file_hash)
        return 0 if found is None else found.st_size

    def _check_committed(self, offset: int, file_hash: str) -> None:
        if self._is_stored(file_hash):
            raise errors.StoredMeanwhileError(file_hash)
        committed = self._committed_bytes(file_hash)
        if offset > committed:
            raise errors.WrongOffsetError(offset, committed)


def _remove(path: pathlib.Path, before_seconds: float = float("inf")) -> bool:
    """Remove what nobody holds, if it was not written to since; whether it is removed."""
    if path.suffix == LINK_SUFFIX:
        # It goes with its temporary file, which is held where this cannot be.
        if disk.status(path.with_suffix("")) is not None:
            return False
        path.unlink()
        return True
    try:
        with locks.taken(path) as held:
            if held is None or os.fstat(held).st_mtime >= before_seconds:
                return False
            path.with_suffix(LINK_SUFFIX).unlink(missing_ok=True)
            path.unlink()
    except FileNotFoundError:
        return False
    return True
