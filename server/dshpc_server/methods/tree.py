"""The hash of a method, and the copy that is kept of its script folder.

    function_hash = hex(sha256(FIELD FIELD …)),   FIELD = length in bytes (8, big-endian), bytes

The fields are, in this order:

    "dshpc-function-1"
    number of the command's words (decimal), then each word
    script_path
    version
    environment
    for each file of the script tree, sorted by the bytes of its path:
        path relative to the script folder, with "/" between folders
        "x" if the owner may execute it, else "-"
        contents

Text is UTF-8, paths are their bytes on disk. The whole tree counts, sub-packages and hidden files
included, with two exceptions: `__pycache__` folders, which running a method in place would change,
and empty folders, which hold nothing. Symbolic links, FIFOs, sockets and devices are refused: what
they lead to can change without the tree changing. The recipe never changes without a new first
field.
"""

import hashlib
import os
import pathlib
import stat
from collections.abc import Iterator

from dshpc_server import disk
from dshpc_server.methods import errors, method

RECIPE = b"dshpc-function-1"
_LENGTH_BYTES = 8
_PIECE_BYTES = 1024 * 1024
SKIPPED = "__pycache__"
"""Folders of this name do not count."""
# A FIFO would block the open, a link would lead elsewhere.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def function_hash(tree: pathlib.Path, manifest: method.Manifest) -> str:
    """Hash a script folder as the manifest says to run it; TreeError if it cannot be."""
    digest = hashlib.sha256()
    for field in _head(manifest):
        digest.update(_framed(field))
    files = paths(tree)
    if manifest.script_path not in files:
        raise errors.TreeError(f"script '{manifest.script_path}' is missing")
    for path in files:
        for piece in _file_fields(tree, path):
            digest.update(piece)
    return digest.hexdigest()


def copy(tree: pathlib.Path, target: pathlib.Path) -> None:
    """Copy what counts of a tree into a new folder, durable and read-only.

    Files become 0444, or 0555 where the owner could execute them, folders 0555.
    """
    folders = {target}
    target.mkdir()
    for path in paths(tree):
        copied = target / path
        copied.parent.mkdir(parents=True, exist_ok=True)
        folders.update(parent for parent in copied.parents if target in parent.parents)
        _copy_file(tree, path, copied)
    for folder in sorted(folders, reverse=True):
        folder.chmod(0o555)
        disk.fsync_folder(folder)


def paths(tree: pathlib.Path) -> list[str]:
    """List the files that count, relative to the tree, sorted by their bytes."""
    _check_folder(tree)
    found = []
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in _entries(tree / folder):
            path = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != SKIPPED:
                    folders.append(path + "/")
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
            else:
                kind = "a symbolic link" if entry.is_symlink() else "neither a file nor a folder"
                raise errors.TreeError(f"{path!r} is {kind}")
    return sorted(found, key=os.fsencode)


def _head(manifest: method.Manifest) -> Iterator[bytes]:
    yield RECIPE
    yield str(len(manifest.command)).encode()
    for word in manifest.command:
        yield word.encode()
    yield manifest.script_path.encode()
    yield manifest.version.encode()
    yield manifest.environment.encode()


def _framed(field: bytes) -> bytes:
    return len(field).to_bytes(_LENGTH_BYTES, "big") + field


def _file_fields(tree: pathlib.Path, path: str) -> Iterator[bytes]:
    descriptor = _open(tree, path)
    try:
        status = os.fstat(descriptor)
        yield _framed(os.fsencode(path))
        yield _framed(b"x" if status.st_mode & stat.S_IXUSR else b"-")
        yield status.st_size.to_bytes(_LENGTH_BYTES, "big")
        size_bytes = 0
        for piece in _pieces(descriptor):
            yield piece
            size_bytes += len(piece)
    finally:
        os.close(descriptor)
    if size_bytes != status.st_size:
        raise errors.TreeError(f"{path!r} changed while it was read")


def _copy_file(tree: pathlib.Path, path: str, copied: pathlib.Path) -> None:
    source = _open(tree, path)
    try:
        executable = os.fstat(source).st_mode & stat.S_IXUSR
        target = os.open(copied, _WRITE_FLAGS, 0o600)
        with os.fdopen(target, "wb") as file:
            file.writelines(_pieces(source))
            file.flush()
            os.fchmod(target, 0o555 if executable else 0o444)
            os.fsync(target)
    finally:
        os.close(source)


def _open(tree: pathlib.Path, path: str) -> int:
    descriptor = os.open(tree / path, _READ_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise errors.TreeError(f"{path!r} is not a regular file")
    return descriptor


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, _PIECE_BYTES):
        yield piece


def _check_folder(tree: pathlib.Path) -> None:
    try:
        mode = tree.lstat().st_mode
    except disk.ABSENT:
        mode = 0
    if stat.S_ISLNK(mode):
        raise errors.TreeError(f"script folder {tree} is a symbolic link")
    if not stat.S_ISDIR(mode):
        raise errors.TreeError(f"script folder {tree} is missing")


def _entries(folder: pathlib.Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)
