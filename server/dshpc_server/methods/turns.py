"""Taking turns: of all servers that share a folder, one writes to it at a time.

Promises: the turn goes with the process that has it, however that ends; nobody waits for ever for
one that hangs.
"""

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Callable, Iterator

from dshpc_server.methods import errors

WAIT_SECONDS = 60.0
"""A load of hundreds of methods takes seconds; who has it for longer is stopped, or its disk is."""
_LOOK_SECONDS = 0.05
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


@contextlib.contextmanager
def turn(folder: pathlib.Path, pause: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Have the turn; MethodsDirError when it does not come, or the folder cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", _FLAGS, 0o600)
    except OSError as error:
        raise errors.MethodsDirError(folder, errors.reason(error)) from error
    try:
        _wait(descriptor, folder, pause)
        yield
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _wait(descriptor: int, folder: pathlib.Path, pause: Callable[[float], None]) -> None:
    # Not in one call that waits: that could not be given up.
    for _ in range(int(WAIT_SECONDS / _LOOK_SECONDS)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause(_LOOK_SECONDS)
        else:
            return
    raise errors.MethodsDirError(
        folder, f"another server has been loading for more than {WAIT_SECONDS:g} s"
    )
