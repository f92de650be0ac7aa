"""`dshpc-server` for which a batch is large from 41 rows on, and comes in pieces of 20.

What is killed while it accepts one then has so many jobs to run, and not a thousand. All else is as
in the server itself.
"""

import pathlib
import sys
from collections.abc import Mapping

from dshpc_server import __main__ as command
from dshpc_server.batches import staging
from support import live_server

LARGE_ROWS = 40
PIECE_ROWS = 20


class SmallPieces(live_server.ServerProcess):
    """A process of that server."""

    is_forked = False
    module = "support.fault_small_pieces"

    def __init__(
        self,
        folder: pathlib.Path,
        methods_dir: pathlib.Path,
        environment: Mapping[str, str] | None = None,
        /,
        **flags: object,
    ) -> None:
        found = {"PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
        super().__init__(folder, methods_dir, {**(environment or {}), **found}, **flags)


def main() -> int:
    """As that of `dshpc_server`."""
    defaults = staging.Staging.__init__.__kwdefaults__
    assert defaults is not None
    defaults.update(large_rows=LARGE_ROWS, piece_rows=PIECE_ROWS)
    return command.main()


if __name__ == "__main__":
    sys.exit(main())
