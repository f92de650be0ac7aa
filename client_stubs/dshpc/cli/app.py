"""The root of the tree of commands, and what becomes of an error."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

import dshpc
from dshpc import client
from dshpc.cli import (
    arguments,
    batch_commands,
    exit_codes,
    failures,
    file_commands,
    job_commands,
    method_commands,
    run_command,
    server,
    terminal,
    tree,
)
from dshpc.cli.fields import BatchFileError
from dshpc.cli.terminal import Output

_HELP = f"""Run batches of jobs on a dshpc server, and look at what it holds.

The server is --server, else the environment variable {tree.SERVER_VARIABLE}, else
{tree.DEFAULT_SERVER}.

Exit codes of every command:

\b
  0    done; for 'run' and what waits for jobs: every job completed
  1    some job did not complete, or the command failed
  2    bad options or a bad batch file; nothing was done
  69   the server is not reachable or does not answer
  75   for now only: the stream broke, or the server is busy; ask again
  130  Ctrl-C; jobs go on
"""

app = tree.new(_HELP)
server_app = tree.new("Show what the server is.")
app.command("run")(run_command.run_batch)
app.add_typer(job_commands.app, name="job")
app.add_typer(batch_commands.app, name="batch")
app.add_typer(file_commands.app, name="files")
app.add_typer(method_commands.app, name="methods")
app.add_typer(server_app, name="server")


def run(given: Sequence[str] | None) -> int:
    """Run the command and return the exit code; errors become one line on stderr."""
    try:
        _command()(args=given, prog_name="dshpc")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else exit_codes.NOT_COMPLETED
    except (arguments.ArgumentError, BatchFileError, client.DshpcError, OSError) as error:
        terminal.note(f"dshpc: {failures.described(error)}")
        return failures.exit_code(error)
    return exit_codes.COMPLETED


@functools.cache
def _command() -> Callable[..., object]:
    """Put the tree together; once, for that takes longer than most commands."""
    return typer.main.get_command(app)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"dshpc {dshpc.__version__}\n")
        raise typer.Exit


@app.callback(help=_HELP)
def connect(
    context: typer.Context,
    *,
    target: Annotated[
        str,
        typer.Option(
            "--server",
            metavar="HOST:PORT",
            envvar=tree.SERVER_VARIABLE,
            help="The server to talk to.",
        ),
    ] = tree.DEFAULT_SERVER,
    version: Annotated[  # noqa: ARG001  # its callback does it all
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _show_version(wanted=value),
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Open the connection that every command talks through."""
    context.obj = context.with_resource(client.Client(arguments.server(target)))


@server_app.command("info")
def show_server(context: typer.Context, *, output: tree.OutputOption = Output.TABLE) -> None:
    """Show the server's version, engine, store, limits and features."""
    server.info(tree.client_of(context), output)
