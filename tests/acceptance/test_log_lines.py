"""What an administrator reads in the server's log: what happened to which batch, job and file.

Names, hashes, counts and times stand there; what jobs are about does not.
"""

import json
import pathlib
from typing import Any

import grpc

from dshpc.v1 import file_service_pb2, job_service_pb2
from support import calls, live_server, site

CANARY = "canary-unheard"


def _lines(log: pathlib.Path, event: str) -> list[dict[str, Any]]:
    """The lines that tell this event, without the moment and the level."""
    told = [json.loads(line) for line in log.read_text().splitlines()]
    dull = ("event", "timestamp", "level")
    return [
        {name: value for name, value in line.items() if name not in dull}
        for line in told
        if line["event"] == event
    ]


def test_the_log_tells_what_happened_and_nothing_of_what_it_was_about(
    tmp_path: pathlib.Path,
) -> None:
    methods_dir = site.write(tmp_path)
    gate = site.Gate(tmp_path / "gate")
    with (
        live_server.as_process(tmp_path, methods_dir) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        data = service.upload(f"{CANARY}\n".encode(), filename=CANARY)
        held = service.upload(gate.content)
        answer = service.simulate(
            calls.config("exit", data, {"code": 3, "about": CANARY}, config_id=CANARY),
            calls.config("absent", data),
            finished=True,
            display_name=CANARY,
        )
        failed = answer.results[0]
        running = service.ask(calls.config("hold", held))
        service.jobs.CancelJob(
            job_service_pb2.CancelJobRequest(job_id=running.job_id, reason=CANARY), timeout=60
        )
        service.files.DeleteFile(file_service_pb2.DeleteFileRequest(file_hash=data), timeout=60)
        log = server.log
        live_server.wait_for(lambda: len(_lines(log, "attempt.ended")) == 2, "both ends")
        assert _lines(log, "batch.accepted")[0] == {
            "batch_id": answer.batch_id,
            "rows": 2,
            "submitted": 1,
            "rejected": 1,
        }
        ended = {line["job_id"]: line for line in _lines(log, "attempt.ended")}
        assert (ended[failed.job_id]["status"], ended[failed.job_id]["exit_code"]) == ("FAILED", 3)
        assert ended[failed.job_id]["seconds"] >= 0
        assert ended[running.job_id]["status"] == "CANCELLED"
        assert [line["job_id"] for line in _lines(log, "job.cancel_asked")] == [running.job_id]
        assert [line["file_hash"] for line in _lines(log, "file.stored")] == [data, held]
        assert [line["file_hash"] for line in _lines(log, "file.deleted")] == [data]
        assert CANARY not in log.read_text()
