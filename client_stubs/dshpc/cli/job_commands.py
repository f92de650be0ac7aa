"""`dshpc job`: its commands and their options."""

from typing import Annotated

import typer

from dshpc.cli import arguments, cancelling, jobs, logs, tree
from dshpc.cli.terminal import Output
from dshpc.v1 import job_service_pb2

app = tree.new(
    "Look at single jobs, read what they write, and stop them.\n\n"
    "A job is named by its job_id: 64 hexadecimal digits, in 'dshpc job list' and in the JSON "
    "lines of 'dshpc run'."
)

_JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="All 64 digits of it.")]


@app.command("list")
def list_jobs(
    context: typer.Context,
    *,
    status: tree.StatusOption = None,
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="NAME", help="Only jobs of this method.")
    ] = "",
    limit: tree.LimitOption = tree.LISTED_ROWS,
    only_ids: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only the job_ids, one a line.")
    ] = False,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """List jobs, those with the newest attempt first.

    Statuses are Slurm's words, in either case: PENDING, RUNNING, COMPLETED, FAILED, CANCELLED,
    TIMEOUT, OUT_OF_MEMORY, NODE_FAIL and so on.

    To stop every job of a method that has not ended:

    \b
      dshpc job list -q -n 1000 -s in_progress -m slow_method | xargs -r dshpc job cancel
    """  # noqa: D301  # \b is typer's mark for text that is not wrapped
    jobs.list_some(
        tree.client_of(context),
        output,
        statuses=arguments.statuses(status or []),
        method_name=method,
        limit=limit,
        only_ids=only_ids,
    )


@app.command("show")
def show_job(
    context: typer.Context,
    job_id: _JobId,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until the job has ended.")
    ] = False,
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Show one job: what it runs, how it went, and each of its attempts.

    With --wait the exit code is 0 only if the job completed, else 1.
    """
    found = arguments.job_id(job_id)
    raise typer.Exit(jobs.show(tree.client_of(context), found, output, waits=wait))


@app.command("watch")
def watch_job(
    context: typer.Context, job_id: _JobId, *, output: tree.OutputOption = Output.TABLE
) -> None:
    """Write the status of a job whenever it changes, until it has ended.

    The exit code is 0 only if the job completed, else 1.
    """
    found = arguments.job_id(job_id)
    raise typer.Exit(jobs.watch(tree.client_of(context), found, output))


@app.command("log")
def show_log(
    context: typer.Context,
    job_id: _JobId,
    *,
    stdout: Annotated[
        bool,
        typer.Option("--stdout", help="What becomes the output, instead of the standard error."),
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=tree.MAX_NUMBER,
            help="Which run of the job; by default the newest.",
        ),
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option("--tail", "-n", metavar="LINES", min=0, help="Only the last so many lines."),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with what comes until the attempt has ended."),
    ] = False,
) -> None:
    """Write what a job wrote to its standard error.

    The bytes go to stdout as they are, also where they are no text. Ctrl-C ends reading (exit code
    130), never the job.

    \b
      dshpc job log JOB_ID --tail 20 --follow
      dshpc job log JOB_ID --stdout --attempt 1 > first-attempt.out
    """  # noqa: D301  # \b is typer's mark for text that is not wrapped
    place = logs.Place(
        job_id=arguments.job_id(job_id),
        log=job_service_pb2.LOG_STDOUT if stdout else job_service_pb2.LOG_STDERR,
        attempt=attempt or 0,
    )
    logs.show(tree.client_of(context), place, tail_lines=tail, follows=follow)


@app.command("cancel")
def cancel_jobs(
    context: typer.Context,
    job_ids: Annotated[list[str], typer.Argument(metavar="JOB_ID")],
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; shown as the job's reason.")
    ] = "",
    output: tree.OutputOption = Output.TABLE,
) -> None:
    """Stop jobs, with every process they started.

    A job may be shared: it stops for everybody who waits for it, which 'dshpc batch cancel' does
    not. One that has ended stays as it is, so asking twice is harmless. The exit code is 1 if one
    of the jobs is not known; the others are stopped even so.
    """
    client = tree.client_of(context)
    found = [arguments.job_id(job_id) for job_id in job_ids]
    raise typer.Exit(cancelling.cancel(client, found, output, reason=reason))
