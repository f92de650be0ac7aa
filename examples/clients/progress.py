"""Summarise every example table, and tell how far that is while it happens.

python examples/clients/progress.py [HOST:PORT]
"""
# ruff: noqa: T201 - what it prints is what it is for

import pathlib
import sys

from google.protobuf import duration_pb2

from dshpc import client
from dshpc.v1 import types_pb2

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


def main(target: str = "127.0.0.1:50051") -> None:
    """Read the events of a batch, one by one."""
    reporting = types_pb2.StreamOptions(
        include_transitions=True,  # every change of status, not only the ends
        statistics_interval=duration_pb2.Duration(seconds=1),
    )
    with client.Client(target) as dshpc:
        uploaded = dshpc.upload_missing(sorted(DATA.glob("*.csv")))
        configs = [
            types_pb2.JobConfig(
                config_id=file.path.name, method_name="column_summary", file_hash=file.file_hash
            )
            for file in uploaded
        ]
        for event in dshpc.stream(configs, display_name="all tables", reporting=reporting):
            match event.WhichOneof("event"):
                case "accepted":
                    print(f"batch {event.accepted.batch_id}: {event.accepted.total_jobs} jobs")
                case "result":
                    status = types_pb2.JobStatus.Name(event.result.new_status)
                    print(f"{event.result.config_id}: {status.removeprefix('JOB_STATUS_')}")
                case "progress":
                    print(f"{event.progress.in_progress_jobs} jobs are in progress")
                case "statistics":
                    print(f"{event.statistics.completed_jobs} completed")


if __name__ == "__main__":
    main(*sys.argv[1:])
