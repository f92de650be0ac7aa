"""`dshpc batch`: its commands and their options."""

from typing import Annotated

import typer

from dshpc.cli import arguments, batches, tree
from dshpc.cli.terminal import Output

app = tree.new(
    "Look at batches that were submitted before.\n\n"
    "A batch is named by its batch_id, which 'dshpc run' says when it begins."
)


@app.command("results")
def show_results(
    context: typer.Context,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH_ID")],
    *,
    status: tree.StatusOption = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show all rows of the table, not the first 50.")
    ] = False,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Show the rows of a batch as they stand now, with the results of those that have ended.

    This reads and never runs anything; the exit code is 0 also when jobs failed.
    """
    batches.results(
        tree.client_of(context),
        arguments.batch_id(batch_id),
        output,
        statuses=arguments.statuses(status or []),
        shows_all=show_all,
    )
