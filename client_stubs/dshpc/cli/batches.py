"""`dshpc batch`: look at batches that were submitted before, follow, cancel and retry them."""

import itertools
import sys
from collections.abc import Sequence

from dshpc.cli import exit_codes, following, listing, report, terminal, words
from dshpc.cli.terminal import Output
from dshpc.client import Client
from dshpc.v1 import batch_service_pb2, types_pb2

_MOST_PAGE_ROWS = 1_000
_HEADINGS = ("batch_id", "state", ">jobs", ">completed", ">not completed", "created", "name")
_STATES = {
    batch_service_pb2.BATCH_STATE_RUNNING: "yellow",
    batch_service_pb2.BATCH_STATE_CANCELLING: "yellow",
}


def list_some(client: Client, output: Output, *, limit: int, only_ids: bool) -> None:
    """Write the newest batches, at most `limit`."""
    found = client.batches(page_size=min(limit + 1, _MOST_PAGE_ROWS))
    rows: list[listing.Row] = []
    count = 0
    for batch in itertools.islice(found, limit):
        count += 1
        if only_ids:
            sys.stdout.write(f"{batch.batch_id}\n")
        elif output is Output.JSON:
            terminal.json_line(terminal.as_json(batch))
        else:
            rows.append(_cells(batch))
    if rows:
        listing.show(_HEADINGS, rows)
    elif not count and output is Output.TABLE and not only_ids:
        terminal.note("no batches")
    if next(found, None) is not None:
        sys.stdout.flush()
        batches = "batch" if count == 1 else "batches"
        terminal.note(f"the newest {count} {batches}; --limit shows more")


def show(client: Client, batch_id: str, output: Output) -> None:
    """Write what is known of one batch."""
    _write(client.batch(batch_id), output)


def watch(client: Client, batch_id: str, options: following.Options) -> int:
    """Follow a batch to its end and return the exit code."""
    found = following.Following(client, options)

    def ask() -> None:
        reporting = found.reporting()
        found.follow(client.watch_batch(batch_id, reporting=reporting, on_pause=found.paused))

    return found.result(ask)


def results(
    client: Client,
    batch_id: str,
    output: Output,
    *,
    statuses: Sequence[types_pb2.JobStatus.ValueType],
    outcomes: Sequence[types_pb2.Outcome.ValueType],
    shows_all: bool,
) -> None:
    """Write the rows of a batch as they stand now."""
    found: report.Report = (
        report.JsonLines()
        if output is Output.JSON
        else report.Table(target=client.target, shows_all=shows_all, is_quiet=False)
    )
    for row in client.results(batch_id, statuses=statuses, outcomes=outcomes):
        found.take(row)
    found.finish(None, batch_id=batch_id)


def cancel(
    client: Client, batch_id: str, output: Output, *, reason: str, indexes: Sequence[int]
) -> None:
    """Withdraw a batch's interest in its rows, or some, and write what became of them."""
    answer = client.cancel_batch(batch_id, reason=reason, indexes=indexes)
    if output is Output.JSON:
        terminal.json_line(terminal.as_json(answer, with_zeros=True))
        return
    counts = {
        "stopped": answer.cancel_requested,
        "going on for others": answer.detached,
        "ended before": answer.already_terminal,
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    state = words.state(answer.batch.state)
    sys.stdout.write(f"batch {batch_id}: {state}; {told or 'no rows'}\n")


def retry(
    client: Client, batch_id: str, options: following.Options, *, waits: bool, request_id: str
) -> int:
    """Submit what failed in a batch anew, follow that, and return the exit code."""
    batch = client.retry_batch(batch_id, request_id=request_id)
    if waits:
        return watch(client, batch.batch_id, options)
    _write(batch, options.output)
    return exit_codes.COMPLETED


def update(client: Client, batch_id: str, output: Output, *, priority: int) -> None:
    """Change a batch's priority and write how it stands."""
    _write(client.update_batch(batch_id, priority=priority), output)


def _write(batch: batch_service_pb2.Batch, output: Output) -> None:
    if output is Output.JSON:
        terminal.json_line(terminal.as_json(batch))
        return
    counts = report.counts(batch.statistics)
    terminal.print_pairs(
        {
            "batch_id": batch.batch_id,
            "name": batch.display_name,
            "state": words.state(batch.state),
            "reason": batch.reason,
            "priority": str(batch.priority),
            "created": words.moment(batch, "create_time"),
            "ended": words.moment(batch, "end_time"),
            **{name: str(count) for name, count in counts.items()},
        }
    )


def _cells(batch: batch_service_pb2.Batch) -> listing.Row:
    counts = batch.statistics
    ended = counts.total_jobs - counts.in_progress_jobs
    all_completed = counts.completed_jobs == counts.total_jobs
    style = _STATES.get(batch.state, "green" if all_completed else "red")
    return (
        batch.batch_id,
        listing.Cell(text=words.state(batch.state), style=style),
        str(counts.total_jobs),
        str(counts.completed_jobs),
        str(ended - counts.completed_jobs),
        words.moment(batch, "create_time"),
        batch.display_name,
    )
