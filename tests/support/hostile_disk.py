"""`dshpc-server serve` on a disk that hangs: large writes wait until a file says they may go on.

    python hostile_disk.py GATE WORDS…

Small writes go through, so that the server itself starts and logs.
"""

import os
import pathlib
import sys
import time
from collections.abc import Callable

LARGE_BYTES = 32 * 1024


def main() -> int:
    """Serve; the words are those of `dshpc-server`."""
    gate, *words = sys.argv[1:]
    os.write = _hanging(os.write, pathlib.Path(gate))  # type: ignore[assignment]  # fit for all that is written
    from dshpc_server import __main__ as server

    return server.main(words)


def _hanging(write: Callable[[int, bytes], int], gate: pathlib.Path) -> Callable[[int, bytes], int]:
    def hanging(descriptor: int, data: bytes) -> int:
        while len(data) >= LARGE_BYTES and not gate.exists():
            time.sleep(0.02)
        return write(descriptor, data)

    return hanging


if __name__ == "__main__":
    sys.exit(main())
