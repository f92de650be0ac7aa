"""`dshpc files`: its commands and their options."""

import pathlib
from typing import Annotated

import typer

from dshpc.cli import arguments, files, tree
from dshpc.cli.terminal import Output

app = tree.new(
    "Store, list, fetch and remove files by the hash of their content.\n\n"
    "A hash is the SHA-256 of the content, as sha256sum prints it. Outputs that are too long to be "
    "answered with their job are files too, without a name."
)

_Hash = Annotated[str, typer.Argument(metavar="HASH", help="All 64 digits of it.")]


@app.command("upload")
def upload(
    context: typer.Context,
    paths: Annotated[
        list[pathlib.Path], typer.Argument(metavar="PATH", exists=True, dir_okay=False)
    ],
    *,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Store files that the server lacks and show their hashes.

    An upload that was cut off goes on where it stopped when it is asked for again.
    """
    files.upload(tree.client_of(context), paths, output)


@app.command("download")
def download(
    context: typer.Context,
    file_hash: _Hash,
    path: Annotated[
        pathlib.Path, typer.Argument(metavar="PATH", help="A file, or a folder to put it in.")
    ],
    *,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Write a file or an output to PATH, once its hash is verified; replaces what is there."""
    files.download(tree.client_of(context), arguments.file_hash(file_hash), path, output)


@app.command("missing")
def missing(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="HASH|PATH")],
    *,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Show which of these files the server lacks. Exit code 0 whether or not some are missing."""
    files.missing(tree.client_of(context), names, output)


@app.command("list")
def list_files(
    context: typer.Context,
    *,
    limit: tree.LimitOption = tree.LISTED_ROWS,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """List the stored files and long outputs, the newest first."""
    files.list_some(tree.client_of(context), output, limit=limit)


@app.command("show")
def show_file(
    context: typer.Context, file_hash: _Hash, *, output: tree.OutputOption = Output.TABLE
) -> None:
    """Show the size, the name and the age of one stored file or output."""
    files.show(tree.client_of(context), arguments.file_hash(file_hash), output)


@app.command("delete")
def delete_files(
    context: typer.Context,
    file_hashes: Annotated[list[str], typer.Argument(metavar="HASH")],
    *,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Remove files or outputs from the server, without a question; local files stay.

    A file that an unfinished job needs is kept, and the exit code is 1. A job whose output is
    removed runs again when it is asked for.
    """
    found = [arguments.file_hash(file_hash) for file_hash in file_hashes]
    raise typer.Exit(files.delete(tree.client_of(context), found, output))
