"""`dshpc batch`: its commands and their options."""

from typing import Annotated

import typer

from dshpc.cli import arguments, batch_options, batches, following, tree
from dshpc.cli.terminal import Output

app = tree.new(
    "Look at batches that were submitted before, follow, cancel and retry them.\n\n"
    "A batch is named by its batch_id, which 'dshpc run' says when it begins and 'dshpc batch "
    "list' shows."
)

_BatchId = Annotated[str, typer.Argument(metavar="BATCH_ID")]
_AllOption = Annotated[
    bool, typer.Option("--all", help="Show all rows of the table, not the first 50.")
]
_TransitionsOption = Annotated[
    bool, typer.Option("--transitions", help="Show every change of status.")
]
_ProgressOption = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Progress on stderr; by default when stderr is a terminal.",
        show_default=False,
    ),
]
_QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Only JSON lines or the closing line, and errors."),
]


@app.command("list")
def list_batches(
    context: typer.Context,
    *,
    limit: tree.LimitOption = tree.LISTED_ROWS,
    only_ids: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only the batch_ids, one a line.")
    ] = False,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """List batches, the newest first."""
    batches.list_some(tree.client_of(context), output, limit=limit, only_ids=only_ids)


@app.command("show")
def show_batch(
    context: typer.Context, batch_id: _BatchId, *, output: tree.OutputOption = Output.TABLE
) -> None:
    """Show one batch: where it stands, and how many of its jobs are where."""
    batches.show(tree.client_of(context), arguments.batch_id(batch_id), output)


@app.command("watch")
def watch_batch(
    context: typer.Context,
    batch_id: _BatchId,
    *,
    transitions: _TransitionsOption = False,
    progress: _ProgressOption = None,
    quiet: _QuietOption = False,
    show_all: _AllOption = False,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Wait for a batch, and show its results and statistics as 'dshpc run' does.

    Nothing is submitted. The exit code is 0 only if every job completed, else as that of
    'dshpc run'; Ctrl-C leaves the jobs alone.
    """
    options = following.Options(
        output=output,
        shows_transitions=transitions,
        shows_progress=progress,
        is_quiet=quiet,
        shows_all=show_all,
    )
    found = arguments.batch_id(batch_id)
    raise typer.Exit(batches.watch(tree.client_of(context), found, options))


@app.command("results")
def show_results(
    context: typer.Context,
    batch_id: _BatchId,
    *,
    status: tree.StatusOption = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            "--outcome",
            metavar="OUTCOME",
            help="Only rows that were decided so, e.g. REJECTED; may be given several times, or as "
            "A,B.",
        ),
    ] = None,
    show_all: _AllOption = False,
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
        outcomes=arguments.outcomes(outcome or []),
        shows_all=show_all,
    )


@app.command("cancel")
def cancel_batch(
    context: typer.Context,
    batch_id: _BatchId,
    *,
    index: Annotated[
        list[int] | None,
        typer.Option(
            "--index",
            metavar="N",
            min=0,
            max=tree.MAX_NUMBER,
            help="Only the row with this index; may be given several times.",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; shown where the batch is.")
    ] = "",
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Cancel a batch: stop what it waits for and nobody else does.

    A job that another batch waits for, too, goes on there. What has ended stays as it is, so asking
    twice is harmless.
    """
    batches.cancel(
        tree.client_of(context),
        arguments.batch_id(batch_id),
        output,
        reason=reason,
        indexes=index or [],
    )


@app.command("retry")
def retry_batch(
    context: typer.Context,
    batch_id: _BatchId,
    *,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until every job has ended.")
    ] = True,
    request_id: Annotated[
        str,
        typer.Option(
            "--request-id",
            metavar="UUID",
            help="A name for this request: given again, it follows the same new batch.",
        ),
    ] = "",
    transitions: _TransitionsOption = False,
    progress: _ProgressOption = None,
    quiet: _QuietOption = False,
    show_all: _AllOption = False,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Submit a new batch of the jobs that have ended and did not complete, and wait for it.

    They have the same files, parameters and versions of their methods. The exit code is as that of
    'dshpc batch watch', and 1 when there is nothing to retry.
    """
    options = following.Options(
        output=output,
        shows_transitions=transitions,
        shows_progress=progress,
        is_quiet=quiet,
        shows_all=show_all,
    )
    code = batches.retry(
        tree.client_of(context),
        arguments.batch_id(batch_id),
        options,
        waits=wait,
        request_id=arguments.request_id(request_id) if request_id else "",
    )
    raise typer.Exit(code)


@app.command("update")
def update_batch(
    context: typer.Context,
    batch_id: _BatchId,
    *,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            metavar="N",
            min=-batch_options.MAX_PRIORITY,
            max=batch_options.MAX_PRIORITY,
            help="Higher runs sooner: -100 to 100.",
        ),
    ],
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Change the priority of those jobs of a batch that have not been started."""
    batches.update(tree.client_of(context), arguments.batch_id(batch_id), output, priority=priority)
