"""`dshpc job cancel`: stop jobs that are named.

One that cannot be stopped does not keep the others from it.
"""

from collections.abc import Sequence

from dshpc.cli import exit_codes, failures, listing, terminal, words
from dshpc.cli.terminal import Output
from dshpc.client import CallError, Client, ServerUnavailableError, TimedOutError, statuses
from dshpc.v1 import job_service_pb2, types_pb2


def cancel(client: Client, job_ids: Sequence[str], output: Output, *, reason: str) -> int:
    """Stop jobs, write where each stands, and return the exit code."""
    exit_code = exit_codes.COMPLETED
    rows: list[listing.Row] = []
    try:
        for job_id in dict.fromkeys(job_ids):
            try:
                job = client.cancel(job_id, reason=reason)
            except (ServerUnavailableError, TimedOutError):
                raise  # the others would fare no better
            except CallError as error:
                terminal.note(f"dshpc: {failures.described(error)}")
                exit_code = exit_codes.NOT_COMPLETED
                continue
            if output is Output.JSON:
                terminal.json_line(terminal.as_json(job))
            else:
                rows.append(_cells(job))
    finally:
        if rows:
            listing.show(("job_id", "status", ""), rows)
    return exit_code


def _cells(job: job_service_pb2.Job) -> listing.Row:
    status = listing.Cell(text=words.status(job.status), style=words.style(job.status))
    if job.status in statuses.IN_PROGRESS:
        return job.job_id, status, "is being stopped"
    if job.status == types_pb2.JOB_STATUS_CANCELLED:
        return job.job_id, status, job.reason
    return job.job_id, status, "had ended before"
