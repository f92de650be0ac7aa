"""The tree of commands and their options. What they do stands in the modules named like them."""

import pathlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import dshpc
from dshpc import client
from dshpc.cli import exit_codes, failures, files, jobs, methods, server, terminal
from dshpc.cli import run as run_module
from dshpc.cli.fields import BatchFileError
from dshpc.cli.terminal import Output

DEFAULT_SERVER = "127.0.0.1:50051"

_HELP = f"""Run batches of jobs on a dshpc server, and look at what it holds.

The server is --server, else the environment variable DSHPC_SERVER, else {DEFAULT_SERVER}."""

OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="A table for people, or JSON lines for programs.")
]


def _tree(text: str) -> typer.Typer:
    # Without rich's markup the help is plain text, on a terminal and off it.
    return typer.Typer(
        help=text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )


app = _tree(_HELP)
files_app = _tree("Store and fetch files by the hash of their content.")
methods_app = _tree("Show what can be run.")
server_app = _tree("Show what the server is.")
job_app = _tree("Look at single jobs.")
app.add_typer(files_app, name="files")
app.add_typer(methods_app, name="methods")
app.add_typer(server_app, name="server")
app.add_typer(job_app, name="job")


def run(arguments: Sequence[str] | None) -> int:
    """Run the command and return the exit code; errors become one line on stderr."""
    try:
        app(args=arguments, prog_name="dshpc")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else exit_codes.NOT_COMPLETED
    except (BatchFileError, client.DshpcError, OSError) as error:
        terminal.note(f"dshpc: {failures.described(error)}")
        return failures.exit_code(error)
    return exit_codes.COMPLETED


def _show_version(*, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"dshpc {dshpc.__version__}\n")
        raise typer.Exit


@app.callback()
def connect(
    context: typer.Context,
    *,
    target: Annotated[
        str,
        typer.Option(
            "--server", metavar="HOST:PORT", envvar="DSHPC_SERVER", help="The server to talk to."
        ),
    ] = DEFAULT_SERVER,
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
    """Run batches of jobs on a dshpc server, and look at what it holds."""
    context.obj = context.with_resource(client.Client(target))


@app.command("run")
def run_batch(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="YAML or JSON file; - for stdin.")],
    *,
    output: OutputOption = Output.TABLE,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until every job has ended.")
    ] = True,
    download: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="DIR", help="Write each output to DIR/CONFIG_ID.out."),
    ] = None,
    transitions: Annotated[
        bool, typer.Option("--transitions", help="Show every change of status.")
    ] = False,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="Progress on stderr; by default when stderr is a terminal.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Only JSON lines or the closing line, and errors."),
    ] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show all rows of the table, not the first 50.")
    ] = False,
) -> None:
    """Run a batch: upload its files, wait for its jobs, show results and statistics.

    A batch file lists jobs, or a matrix of files and parameters, or both:

    \b
      display_name: tables
      jobs:
        - {method: count_lines, file: a.csv, parameters: {skip: 1}, timeout: 90s}
      matrix:
        - {method: column_stats, files: ["*.csv"], parameters: [{bins: 5}, {bins: 10}]}

    Paths are relative to the batch file; files: {NAME: PATH} gives names to some. A job may also
    have config_id, file_hash instead of file, inputs (NAME: PATH, or NAME: {file_hash: HASH}) and
    resources ({cpus, memory: 2GiB, gpus}).

    With --output json each result is a line on stdout, in the order of completion; the last line
    holds the statistics.

    Exit codes:

    \b
      0    every job completed
      1    some job did not complete (with --no-wait: or has not ended yet), or the command failed
      2    bad options or a bad batch file; nothing was submitted
      69   the server is not reachable or does not answer
      75   the stream broke before all results were there; the jobs go on: ask again
      130  Ctrl-C; the jobs go on: ask again
    """  # noqa: D301  # \b is typer's mark for text that is not wrapped
    options = run_module.Options(
        output=output,
        waits=wait,
        download_folder=download,
        shows_transitions=transitions,
        shows_progress=progress,
        is_quiet=quiet,
        shows_all=show_all,
    )
    parsed = run_module.read(batch)
    raise typer.Exit(run_module.run(_client(context), parsed, options))


@files_app.command("upload")
def upload(
    context: typer.Context,
    paths: Annotated[list[pathlib.Path], typer.Argument(exists=True, dir_okay=False)],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Store files that the server lacks and show their hashes."""
    files.upload(_client(context), paths, output)


@files_app.command("download")
def download(
    context: typer.Context,
    file_hash: Annotated[str, typer.Argument(metavar="HASH")],
    path: Annotated[pathlib.Path, typer.Argument(help="A file, or a folder to put it in.")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write a file or an output to PATH, once its hash is verified; replaces what is there."""
    files.download(_client(context), file_hash, path, output)


@files_app.command("missing")
def missing(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="HASH|PATH...")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show which of these files the server lacks. Exit code 0 whether or not some are missing."""
    files.missing(_client(context), names, output)


@methods_app.command("list")
def list_methods(context: typer.Context, *, output: OutputOption = Output.TABLE) -> None:
    """List the newest version of every installed method."""
    methods.list_all(_client(context), output)


@methods_app.command("show")
def show_method(context: typer.Context, name: str, *, output: OutputOption = Output.TABLE) -> None:
    """Show one method: its parameters, inputs and versions."""
    methods.show(_client(context), name, output)


@server_app.command("info")
def show_server(context: typer.Context, *, output: OutputOption = Output.TABLE) -> None:
    """Show the server's version, engine, store, limits and features."""
    server.info(_client(context), output)


@job_app.command("show")
def show_job(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    *,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one job as it is now."""
    jobs.show(_client(context), job_id, output)


def _client(context: typer.Context) -> client.Client:
    found = context.obj
    if not isinstance(found, client.Client):
        raise TypeError("the callback of the tree opens the client")
    return found
