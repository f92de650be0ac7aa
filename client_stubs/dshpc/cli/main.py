"""The entry point of `dshpc`: runs the command and turns what went wrong into one line."""

import io
import os
import sys
from collections.abc import Sequence

from dshpc.cli import exit_codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dshpc ARGUMENTS` (default: those of the process) and return the exit code."""
    # gRPC's own log lines would stand between ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows few characters
    try:
        from dshpc.cli import app  # noqa: PLC0415  # after the setting; needs the extra `cli`
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {"rich", "typer", "yaml"}:
            raise
        sys.stderr.write("dshpc: the command needs more packages: pip install 'dshpc[cli]'\n")
        return exit_codes.NOT_COMPLETED
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    return app.run(arguments)
