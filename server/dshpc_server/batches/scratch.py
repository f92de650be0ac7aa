"""Removing the scratch space of attempts that have ended.

Promises: nobody waits for it, whatever a method left there; a tree of any depth and size is removed
with little memory; what cannot be removed is left and told in the log. What is still to be removed
when the server stops stays where it is.
"""

import asyncio
import errno
import pathlib
import subprocess
from collections.abc import Iterable

import structlog

# Python's own rmtree recurses, and a method decides how deep; rm does not.
_REMOVE = ("rm", "-rf", "--one-file-system", "--")

_log = structlog.get_logger(__name__)


class Scratch:
    """Removes workspaces, one after the other, in the task that calls `run`."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[pathlib.Path] = asyncio.Queue()

    def clear(self, folders: Iterable[pathlib.Path]) -> None:
        """Have the workspaces of these attempts removed soon."""
        for folder in folders:
            self._waiting.put_nowait(folder / "workspace")

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            workspace = await self._waiting.get()
            try:
                await asyncio.to_thread(remove, workspace)
            except OSError as error:
                _log.warning("scratch.left", folder=str(workspace.parent), reason=str(error))


def remove(workspace: pathlib.Path) -> None:
    """Remove a workspace. Raises OSError when something of it is left."""
    if workspace.is_symlink():  # the method's doing; what it points to is not ours
        workspace.unlink()
        return
    try:
        # Mostly the engine has taken an empty one back, or left one with an empty tmp/.
        (workspace / "tmp").rmdir()
        workspace.rmdir()
    except FileNotFoundError:
        if not workspace.exists():
            return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
    else:
        return
    removing = subprocess.run(  # noqa: S603 - a fixed program, and a path of our own
        [*_REMOVE, workspace], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if removing.returncode != 0:
        raise OSError(removing.stderr.decode(errors="replace").strip()[:256])
