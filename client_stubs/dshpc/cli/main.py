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
    _replace_closed_streams()
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


def _replace_closed_streams() -> None:
    """Give a command started with `>&-` or the like a stream that leads nowhere.

    Left closed, its number would go to the next file or connection that is opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  # stays open
