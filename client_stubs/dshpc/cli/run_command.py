"""The command `dshpc run` and its options."""

import dataclasses
import pathlib
from typing import Annotated

import typer

from dshpc.cli import arguments, batch_file, batch_options, check, following, run, tree
from dshpc.cli.policies import Cache, Resubmit
from dshpc.cli.terminal import Output


def run_batch(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="YAML or JSON file; - for stdin.")],
    *,
    output: tree.OutputOption = Output.TABLE,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until every job has ended.")
    ] = True,
    checks: Annotated[
        bool, typer.Option("--check", help="Show what would happen, and change nothing.")
    ] = False,
    cache: Annotated[
        Cache | None, typer.Option("--cache", help="What may be answered from before (see above).")
    ] = None,
    resubmit: Annotated[
        Resubmit | None,
        typer.Option("--resubmit", help="What happens to jobs that failed before (see above)."),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            "--priority",
            metavar="N",
            min=-batch_options.MAX_PRIORITY,
            max=batch_options.MAX_PRIORITY,
            help="Higher runs sooner: -100 to 100; of jobs that do not say.",
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures",
            metavar="N",
            min=0,
            max=tree.MAX_NUMBER,
            help="Cancel the rest once so many jobs have failed; 0: never.",
        ),
    ] = None,
    request_id: Annotated[
        str,
        typer.Option(
            "--request-id",
            metavar="UUID",
            help="A name for this request: given again, it follows the same batch.",
        ),
    ] = "",
    cancel_on_disconnect: Annotated[
        bool,
        typer.Option(
            "--cancel-on-disconnect",
            help="Cancel the batch when this command is gone for 30 s; Ctrl-C counts.",
        ),
    ] = False,
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
        - {config_id: clean, method: drop_gaps, file: "data/*.csv"}
        - method: column_stats
          inputs: {input: {job: clean/b.csv}}
          sweep: {axes: {bins: [5, 10], alpha: {start: 0, stop: 1, count: 11}}}
      matrix:
        - {method: column_stats, files: ["*.csv"], parameters: [{bins: 5}, {bins: 10}]}

    Paths are relative to the batch file; files: {NAME: PATH} gives names to some. A pattern makes
    one config for each file, named CONFIG_ID/FILE_NAME. A job may also have config_id, file_hash
    instead of file, inputs (NAME: PATH, or NAME: {file_hash: HASH}, {job: CONFIG_ID} or {job_id:
    HASH}), resources ({cpus, memory: 2GiB, gpus}), function_hash (a version of the method that is
    not the newest), priority and cache. A batch may also have priority, cache, resubmit,
    max_failures, request_id, cancel_on_disconnect and max_inline_output_bytes (longer outputs are
    fetched by hash).

    A sweep makes many rows of one job, on the server. Its axes are parameters, with values or a
    range ({start, stop, count, log_scale}), and file, with paths and patterns. mode: grid takes
    every combination (the default), zip the first values together, then the second ones.

    \b
      depends_on: [clean]                            wait until it has completed
      depends_on: [{job: clean, condition: failed}]  has failed; or finished: ended anyhow
      inputs: {input: {job: clean}}                  its output, which is waited for, too

    With per_sweep_index: true in such a reference each row of a sweep waits for the row of the
    other sweep with its own number. What can no longer run is SKIPPED.

    What is answered from before, for jobs whose batch file does not say (--cache, or cache: in the
    file; the option wins over the batch's word, and a job's own word over both):

    \b
      use      a completed job is the answer, all others run (the default)
      refresh  run anew; the result replaces the earlier one once it has completed
      bypass   run anew for this batch alone; what was computed before stays
      only     run nothing: what is not known is NOT FOUND

    What happens to jobs that failed before (--resubmit, or resubmit: in the file):

    \b
      always     they run again, as often as the server allows (the default)
      retriable  they run again, unless the method said that it cannot help (exit code 78)
      never      they do not; the earlier failure is the answer

    --check asks the server what it would do with each job. Nothing is uploaded and nothing runs;
    the exit code is 0 if no job would be rejected.

    With --output json each result is a line on stdout, in the order of completion; the last line
    holds the statistics.

    Exit codes:

    \b
      0    every job completed
      1    some job did not complete (with --no-wait: or has not ended yet), or the command failed
      2    bad options or a bad batch file; nothing was submitted
      69   the server is not reachable or does not answer
      75   the stream broke and could not be gone on with (the jobs go on), or the server is
           busy: ask again
      130  Ctrl-C; the jobs go on: dshpc batch watch follows them, dshpc batch cancel stops them
    """  # noqa: D301  # \b is typer's mark for text that is not wrapped
    shown = following.Options(
        output=output,
        shows_transitions=transitions,
        shows_progress=progress,
        is_quiet=quiet,
        shows_all=show_all,
    )
    parsed = batch_file.read(batch)
    parsed = dataclasses.replace(
        parsed,
        request_id=arguments.request_id(request_id) if request_id else parsed.request_id,
        priority=parsed.priority if priority is None else priority,
        cache=cache or parsed.cache,
        resubmit=resubmit or parsed.resubmit,
        max_failures=parsed.max_failures if max_failures is None else max_failures,
        cancel_on_disconnect=cancel_on_disconnect or parsed.cancel_on_disconnect,
    )
    client = tree.client_of(context)
    if checks:
        how = check.Options(output=output, is_quiet=quiet, shows_all=show_all)
        raise typer.Exit(check.check(client, parsed, how))
    options = run.Options(shown=shown, waits=wait, download_folder=download)
    raise typer.Exit(run.run(client, parsed, options))
