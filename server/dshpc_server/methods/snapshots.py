"""Read-only copies of script folders, each under its function_hash.

Promise: what stands under a hash has that hash: it was hashed after it was copied, became visible
whole, and is checked again whenever it is taken. Servers that share the folder take turns to write
to it (`methods.turns`); a copy that is as it should be is never touched.
"""

import contextlib
import pathlib
import shutil
import uuid

from dshpc_server import disk
from dshpc_server.methods import errors, method, tree

_NEW_PREFIX = ".new-"
_OLD_PREFIX = ".old-"
# Times a folder is read again that changed between being hashed and being copied.
_MAX_READINGS = 3


class Snapshots:
    """The folder of copies. Whoever writes to it has the turn."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def path(self, function_hash: str) -> pathlib.Path:
        """Where the copy with this hash is, or would be."""
        return self._folder / function_hash

    def is_intact(self, function_hash: str, manifest: method.Manifest) -> bool:
        """Whether the copy is there and still has its hash; OSError when the disk does not say."""
        try:
            return tree.function_hash(self.path(function_hash), manifest) == function_hash
        except (errors.TreeError, *disk.ABSENT):
            return False

    def take(self, source: pathlib.Path, manifest: method.Manifest) -> str:
        """Hash a script folder and see to it that its copy is there; return the hash.

        A copy that is damaged is replaced. A source that changes meanwhile is read again, so that
        the copy is what the folder held at one moment, and refused if it goes on changing.
        """
        disk.make_folder(self._folder)
        for _ in range(_MAX_READINGS):
            function_hash = tree.function_hash(source, manifest)
            if self.is_intact(function_hash, manifest):
                return function_hash
            if self._copy(source, manifest, function_hash):
                return function_hash
        raise errors.TreeError("the script folder keeps changing while it is read")

    def remove_leftovers(self) -> None:
        """Remove what an interrupted load left behind."""
        for prefix in (_NEW_PREFIX, _OLD_PREFIX):
            for path in self._folder.glob(prefix + "*"):
                _remove(path)

    def _copy(self, source: pathlib.Path, manifest: method.Manifest, function_hash: str) -> bool:
        new = self._folder / f"{_NEW_PREFIX}{function_hash}-{uuid.uuid4().hex}"
        try:
            tree.copy(source, new)
            if tree.function_hash(new, manifest) != function_hash:
                return False
            self._install(new, function_hash)
        finally:
            _remove(new)
        return True

    def _install(self, new: pathlib.Path, function_hash: str) -> None:
        # All names are in one folder: a read-only folder cannot be moved to another.
        target = self.path(function_hash)
        old = self._folder / f"{_OLD_PREFIX}{function_hash}-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        new.rename(target)
        disk.fsync_folder(self._folder)
        _remove(old)


def _remove(path: pathlib.Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # Nothing can be removed from a folder that is read-only, except by root.
    path.chmod(0o700)
    for folder in path.rglob("*"):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o700)
    shutil.rmtree(path)
