"""Workspaces that were left empty are used again, by rename.

Most methods write to stdout alone. Making and removing two directories for each of them is dear
where it matters: ext4 passes over inodes that were deleted within the last minute one by one, so
at hundreds of short attempts a second a new directory was measured to cost 0.5 ms of processor.
"""

import contextlib
import itertools
import os
import stat

_SPARE_LIMIT = 256


class Workspaces:
    """Gives each attempt an empty `workspace/` with an empty `tmp/`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        """Where spare ones wait; of the same file system as attempts, or they are not used."""
        self._spares: list[str] = []
        self._made = 0
        remove_spares(folder)
        os.makedirs(folder, exist_ok=True)

    def give(self, workspace: str) -> None:
        """Make this workspace. Raises OSError."""
        if self._spares:
            with contextlib.suppress(OSError):  # there is one already, or another file system
                os.rename(self._spares[-1], workspace)
                self._spares.pop()
                return
        for directory in (workspace, os.path.join(workspace, "tmp")):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory)

    def take(self, workspace: str) -> None:
        """Take the workspace of an attempt that has ended, if it is as it was given."""
        if len(self._spares) >= _SPARE_LIMIT or not _is_as_given(workspace):
            return
        spare = f"{self._folder}/{self._made}"
        self._made += 1
        with contextlib.suppress(OSError):
            os.rename(workspace, spare)
            self._spares.append(spare)

    def close(self) -> None:
        """Remove the spare ones."""
        remove_spares(self._folder)


def remove_spares(folder: str) -> None:
    """Remove what a runner, perhaps a dead one, kept here."""
    for directory, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # somebody put something there
            os.rmdir(directory)


def _is_as_given(workspace: str) -> bool:
    temporary = os.path.join(workspace, "tmp")
    try:
        modes = [os.lstat(path).st_mode for path in (workspace, temporary)]
        if modes != [stat.S_IFDIR | 0o700] * 2:
            return False
        return _first_names(workspace) == ["tmp"] and not _first_names(temporary)
    except OSError:
        return False


def _first_names(folder: str) -> list[str]:
    """At most two names of what is in a folder, which may hold millions."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in itertools.islice(entries, 2)]
