"""Removing the scratch space of attempts that have ended.

Promises: nobody waits for it, whatever a method left there; a tree of any depth and size is removed
with little memory; what cannot be removed is left and told in the log. What is still to be removed
when the server stops stays where it is, and the stop does not wait for it.
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
                await remove(workspace)
            except OSError as error:
                _log.warning("scratch.left", folder=str(workspace.parent), reason=str(error))


async def remove(workspace: pathlib.Path) -> None:
    """Remove a workspace. Raises OSError when something of it is left."""
    if not await asyncio.to_thread(_remove_small, workspace):
        await _remove_large(workspace)


def _remove_small(workspace: pathlib.Path) -> bool:
    """Remove what takes no time; whether that was all."""
    if workspace.is_symlink():  # the method's doing; what it points to is not ours
        workspace.unlink(missing_ok=True)  # another server may have been here
        return True
    try:
        # Mostly the engine has taken an empty one back, or left one with an empty tmp/.
        (workspace / "tmp").rmdir()
        workspace.rmdir()
    except FileNotFoundError:
        return not workspace.exists()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


async def _remove_large(workspace: pathlib.Path) -> None:
    # Not in a thread: a server that stops would wait for it.
    removing = await asyncio.create_subprocess_exec(
        *_REMOVE,
        workspace,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, told = await removing.communicate()
    finally:
        if removing.returncode is None:
            removing.kill()
            await removing.wait()
    if removing.returncode != 0:
        raise OSError(told.decode(errors="replace").strip()[:256])
