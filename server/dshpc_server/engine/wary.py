"""Reading what lies where methods may write.

Promises: no link is followed, no FIFO waited for, nothing that is not of a record's size is read.
What somebody put in the place of a record is told apart from a disk that does not answer: the first
is an `UnreadableError`, the second stays an OSError and says nothing about the record. Standard
library only: the runner imports this.
"""

import errno
import os
import stat

FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""For opening anything in such a place, whether it is read or written."""
RECORD_LIMIT_BYTES = 64 * 2**10
# A link, a socket, a right that was taken away: a method's doing. What the machine is short of for
# the moment, or its disk fails with, says nothing about a record.
_TAMPERED = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM})


class UnreadableError(Exception):
    """There is something in the place of a record that is none."""


def read(path: str | os.PathLike[str]) -> tuple[bytes, float] | None:
    """Return what a record holds and when it was changed, in seconds; None when there is none.

    Raises UnreadableError for what is no record, and OSError when it cannot be read for the moment.
    """
    try:
        fd = os.open(path, os.O_RDONLY | FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno not in _TAMPERED:
            raise
        raise UnreadableError(error.strerror) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > RECORD_LIMIT_BYTES:
            raise UnreadableError("not a regular file of a record's size")
        return os.read(fd, RECORD_LIMIT_BYTES), status.st_mtime
    finally:
        os.close(fd)
