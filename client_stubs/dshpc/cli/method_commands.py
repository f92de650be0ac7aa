"""`dshpc methods`: its commands and their options."""

from typing import Annotated

import typer

from dshpc.cli import arguments, methods, tree
from dshpc.cli.terminal import Output

app = tree.new("Show what can be run.")


@app.command("list")
def list_methods(context: typer.Context, *, output: tree.OutputOption = Output.TABLE) -> None:
    """List the newest version of every installed method."""
    methods.list_all(tree.client_of(context), output)


@app.command("show")
def show_method(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    version: Annotated[
        str,
        typer.Option(
            "--version", metavar="FUNCTION_HASH", help="This version, instead of the newest."
        ),
    ] = "",
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Show one method: its parameters, inputs and versions.

    A job runs the newest version, or the one whose function_hash its config gives.
    """
    function_hash = arguments.function_hash(version) if version else ""
    methods.show(tree.client_of(context), name, output, function_hash=function_hash)
