"""What came of uploads that were cut off: at most one kept file for a hash, and who writes to it.

    INCOMING/HASH       what is kept of an upload of this hash
    INCOMING/…          temporary files, of no use to a later server

Promises: one upload at a time holds the kept file; it is never made shorter but by an upload that
goes on from there, and never taken away while it is held. Any thread may call.
"""

import datetime
import pathlib
import threading
from collections.abc import Callable
from typing import Protocol

from dshpc_server.domain import identity
from dshpc_server.files import errors, partial


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

    def supersede(self) -> None:
        """Write no more; when this returns, it does not."""
        ...


class Incoming:
    """The folder of what is coming."""

    def __init__(self, folder: pathlib.Path, is_stored: Callable[[str], bool]) -> None:
        """Keep what can be gone on with, and remove what else an earlier server left."""
        self.folder = folder
        self._is_stored = is_stored
        self._lock = threading.Lock()
        """Held for a moment only: nobody reads or writes content while holding it."""
        self._holders: dict[str, Holder] = {}
        for left in folder.iterdir():
            usable = identity.is_hash(left.name) and left.is_file() and not left.is_symlink()
            if not usable or is_stored(left.name):
                left.unlink()

    def begin(self, holder: Holder) -> partial.Partial:
        """Begin anew: as the kept file where there is none, else under another name."""
        with self._lock:
            if holder.file_hash not in self._holders:
                try:
                    content = partial.Partial.new(self.folder / holder.file_hash)
                except FileExistsError:
                    pass
                else:
                    self._holders[holder.file_hash] = holder
                    return content
        return partial.Partial.temporary(self.folder)

    def take_over(self, holder: Holder) -> partial.Partial:
        """Hold the kept file, whoever held it, to go on from the holder's `received_bytes`.

        Raises WrongOffsetError when less is committed, StoredMeanwhileError when whoever held it
        has stored the whole.
        """
        file_hash, offset = holder.file_hash, holder.received_bytes
        with self._lock:
            self._check_committed(offset, file_hash)
            earlier = self._holders.get(file_hash)
            self._holders[file_hash] = holder
        try:
            # Not in the lock: it may be writing, or storing the whole.
            if earlier is not None:
                earlier.supersede()
            return partial.Partial.kept(self.folder / file_hash)
        except FileNotFoundError:
            self.release(holder)
            self._check_committed(offset, file_hash)
            raise errors.WrongOffsetError(offset, 0) from None
        except BaseException:
            self.release(holder)
            raise

    def grown(self, holder: Holder, content: partial.Partial) -> None:
        """Make this the kept file when it is longer than that, and nobody holds that."""
        with self._lock:
            if holder.file_hash not in self._holders and self._is_longest(holder, content):
                content.path = content.path.rename(self.folder / holder.file_hash)
                self._holders[holder.file_hash] = holder

    def end(self, holder: Holder, content: partial.Partial, *, keep: bool) -> None:
        """Leave the kept file, with this content if that is worth keeping, to whoever comes next.

        The content is closed. What another has taken over is not touched.
        """
        path = self.folder / holder.file_hash
        with self._lock:
            current = self._holders.get(holder.file_hash)
            if current is holder:
                del self._holders[holder.file_hash]
            elif content.path == path:
                return
            keep = keep and content.size_bytes > 0 and not self._is_stored(holder.file_hash)
            if keep and content.path == path:
                return
            if keep and current is None and self._is_longest(holder, content):
                content.path = content.path.rename(path)
                return
            content.path.unlink(missing_ok=True)

    def release(self, holder: Holder) -> None:
        """Leave the kept file as it is; harmless for who does not hold it."""
        with self._lock:
            if self._holders.get(holder.file_hash) is holder:
                del self._holders[holder.file_hash]

    def committed_bytes(self, file_hash: str) -> int:
        """How much an upload need not send again."""
        with self._lock:
            return self._committed_bytes(file_hash)

    def forget(self, file_hash: str) -> bool:
        """Remove what is kept unless it is held; return whether there was anything."""
        with self._lock:
            path = self.folder / file_hash
            if file_hash in self._holders or not path.exists():
                return False
            path.unlink()
            return True

    def expire(self, before: datetime.datetime) -> list[str]:
        """Remove what nobody holds and was not written to since; return its hashes."""
        names = (path.name for path in self.folder.iterdir() if identity.is_hash(path.name))
        return [name for name in names if self._expire(name, before.timestamp())]

    def _expire(self, file_hash: str, before_seconds: float) -> bool:
        path = self.folder / file_hash
        with self._lock:
            try:
                if file_hash in self._holders or path.stat().st_mtime >= before_seconds:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
            return True

    def _is_longest(self, holder: Holder, content: partial.Partial) -> bool:
        return content.size_bytes > self._committed_bytes(holder.file_hash)

    def _committed_bytes(self, file_hash: str) -> int:
        holder = self._holders.get(file_hash)
        if holder is not None:
            return holder.received_bytes
        try:
            return (self.folder / file_hash).stat().st_size
        except FileNotFoundError:
            return 0

    def _check_committed(self, offset: int, file_hash: str) -> None:
        if self._is_stored(file_hash):
            raise errors.StoredMeanwhileError(file_hash)
        committed = self._committed_bytes(file_hash)
        if offset > committed:
            raise errors.WrongOffsetError(offset, committed)
