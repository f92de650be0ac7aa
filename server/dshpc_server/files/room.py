"""Room on disk: what is said when there is none."""

import contextlib
import errno
from collections.abc import Iterator

from dshpc_server import errors

# A disk is made room on by people or by retention, neither of which is quick.
RETRY_AFTER_SECONDS = 30.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Turn "no room on disk" into UnavailableError; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise errors.UnavailableError(
            "there is no room on disk for this content", retry_after_seconds=RETRY_AFTER_SECONDS
        ) from error
