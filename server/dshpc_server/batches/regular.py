"""Opening what a method has written, and may have replaced by something else.

Promise: nothing but a regular file is opened; a link is not followed, a FIFO is not waited for.
"""

import os
import pathlib
import stat

from dshpc_server import errors


class NotRegularError(errors.DshpcError):
    """There is something else than a file: the method has tampered with its folder."""


def descriptor(path: pathlib.Path) -> int:
    """Open a file for reading; raises NotRegularError and OSError."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotRegularError(f"{path.name} is not a regular file")
    return opened
