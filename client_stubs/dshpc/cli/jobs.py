"""`dshpc job`: look at single jobs."""

import json

from dshpc.cli import report, terminal
from dshpc.cli.terminal import Output
from dshpc.client import Client
from dshpc.v1 import job_service_pb2

_SHOWN_CHARACTERS = 2_000


def show(client: Client, job_id: str, output: Output) -> None:
    """Write one job."""
    job = client.job(job_id)
    if output is Output.JSON:
        terminal.json_line(terminal.as_json(job))
    else:
        terminal.print_pairs(_pairs(job))


def _pairs(job: job_service_pb2.Job) -> dict[str, str]:
    parameters = terminal.plain_value(job.parameters)
    return {
        "job_id": job.job_id,
        "method": job.method_name,
        "function_hash": job.function_hash,
        **{f"inputs.{name}": file_hash for name, file_hash in sorted(job.inputs.items())},
        "parameters": json.dumps(parameters, ensure_ascii=False, sort_keys=True),
        "status": report.status_name(job.status),
        "attempt": str(job.attempt or ""),
        "exit_code": str(job.exit_code) if job.HasField("exit_code") else "",
        "signal": str(job.signal) if job.HasField("signal") else "",
        "reason": job.reason,
        "error": job.error.message[-_SHOWN_CHARACTERS:],
        "engine": " ".join(part for part in (job.engine, job.engine_job_id, job.node) if part),
        **{name: _moment(job, name) for name in ("create_time", "start_time", "end_time")},
        "output_hash": job.output_hash,
        "output_size": terminal.size(job.output_size_bytes) if job.output_hash else "",
        "output": job.output[:_SHOWN_CHARACTERS],
    }


def _moment(job: job_service_pb2.Job, name: str) -> str:
    moments = {field.name: value for field, value in job.ListFields()}
    return moments[name].ToJsonString() if name in moments else ""
