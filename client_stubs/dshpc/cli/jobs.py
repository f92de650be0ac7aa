"""`dshpc job list|show|watch`: look at single jobs."""

import itertools
import json
import sys
from collections.abc import Sequence

from dshpc.cli import exit_codes, listing, terminal, words
from dshpc.cli.terminal import Output
from dshpc.client import Client
from dshpc.v1 import job_service_pb2, types_pb2

_MOST_PAGE_ROWS = 1_000
_SHOWN_CHARACTERS = 2_000
_HEADINGS = ("job_id", "status", "method", ">attempt", "created", ">time", "reason")


def list_some(
    client: Client,
    output: Output,
    *,
    statuses: Sequence[types_pb2.JobStatus.ValueType] = (),
    method_name: str = "",
    limit: int,
    only_ids: bool = False,
) -> None:
    """Write the jobs with the newest attempts, at most `limit`."""
    jobs = client.jobs(
        statuses=statuses, method_name=method_name, page_size=min(limit + 1, _MOST_PAGE_ROWS)
    )
    rows = []
    for job in itertools.islice(jobs, limit):
        if only_ids:
            sys.stdout.write(f"{terminal.safe(job.job_id)}\n")
        elif output is Output.JSON:
            terminal.json_line(terminal.as_json(job))
        else:
            rows.append(_cells(job))
    has_more = next(jobs, None) is not None
    if rows:
        listing.show(_HEADINGS, rows)
    elif output is Output.TABLE and not only_ids:
        terminal.note("no such jobs" if statuses or method_name else "no jobs")
    if has_more:
        sys.stdout.flush()
        terminal.note(f"the newest {terminal.counted(limit, 'job')}; --limit shows more")


def show(client: Client, job_id: str, output: Output, *, waits: bool) -> int:
    """Write one job, as it is now or when it has ended, and return the exit code."""
    job = list(client.watch(job_id))[-1] if waits else client.job(job_id)
    if output is Output.JSON:
        terminal.json_line(terminal.as_json(job))
    else:
        terminal.print_pairs(_pairs(job))
        if job.attempts:
            _print_attempts(job)
    return _exit_code(job) if waits else exit_codes.COMPLETED


def watch(client: Client, job_id: str, output: Output) -> int:
    """Write the status of a job whenever it changes, and return the exit code at the end."""
    job = job_service_pb2.Job()
    for job in client.watch(job_id):
        if output is Output.JSON:
            terminal.json_line(terminal.as_json(job))
        else:
            why = ": ".join(part for part in (words.exit_of(job), job.reason) if part)
            sys.stdout.write(f"{words.status(job.status)}  {terminal.safe(why)}".rstrip() + "\n")
        sys.stdout.flush()
    return _exit_code(job)


def _exit_code(job: job_service_pb2.Job) -> int:
    is_completed = job.status == types_pb2.JOB_STATUS_COMPLETED
    return exit_codes.COMPLETED if is_completed else exit_codes.NOT_COMPLETED


def _cells(job: job_service_pb2.Job) -> listing.Row:
    return (
        job.job_id,
        listing.Cell(text=words.status(job.status), style=words.style(job.status)),
        job.method_name,
        str(job.attempt or ""),
        words.moment(job, "create_time"),
        words.run_time(job),
        job.reason,
    )


def _print_attempts(job: job_service_pb2.Job) -> None:
    table = terminal.new_table(">attempt", "status", "exit", "created", ">time", "node", "reason")
    for attempt in job.attempts:
        cells = (
            terminal.shown(str(attempt.attempt)),
            terminal.shown(words.status(attempt.status), style=words.style(attempt.status)),
            *map(
                terminal.shown,
                (
                    words.exit_of(attempt),
                    words.moment(attempt, "create_time"),
                    words.run_time(attempt),
                    attempt.node,
                    attempt.reason,
                ),
            ),
        )
        table.add_row(*cells)
    out = terminal.console_on(sys.stdout)
    out.print()
    out.print(table)


def _peak_memory(job: job_service_pb2.Job) -> str:
    return terminal.size(job.peak_memory_bytes) if job.HasField("peak_memory_bytes") else ""


def _pairs(job: job_service_pb2.Job) -> dict[str, str]:
    parameters = terminal.plain_value(job.parameters)
    return {
        "job_id": job.job_id,
        "method": job.method_name,
        "function_hash": job.function_hash,
        **{f"inputs.{name}": file_hash for name, file_hash in sorted(job.inputs.items())},
        "parameters": json.dumps(parameters, ensure_ascii=False, sort_keys=True),
        "status": words.status(job.status),
        "attempt": str(job.attempt or ""),
        "exit_code": str(job.exit_code) if job.HasField("exit_code") else "",
        "signal": str(job.signal) if job.HasField("signal") else "",
        "reason": job.reason,
        "error": job.error.message[-_SHOWN_CHARACTERS:],
        "engine": " ".join(part for part in (job.engine, job.engine_job_id, job.node) if part),
        **{name: words.moment(job, name) for name in ("create_time", "start_time", "end_time")},
        "queue_time": words.time_spent(job, "queue_time"),
        "run_time": words.run_time(job),
        "cpu_time": words.time_spent(job, "cpu_time"),
        "peak_memory": _peak_memory(job),
        "packed": words.packed(job),
        "output_hash": job.output_hash,
        "output_size": terminal.size(job.output_size_bytes) if job.output_hash else "",
        "output": job.output[:_SHOWN_CHARACTERS],
    }
