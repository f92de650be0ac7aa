"""Upload a file, ask three things about it, and print the answers.

python examples/clients/first_batch.py [HOST:PORT]
"""
# ruff: noqa: T201 - what it prints is what it is for

import pathlib
import sys

from dshpc import client
from dshpc.v1 import types_pb2

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


def main(target: str = "127.0.0.1:50051") -> None:
    """Run a batch of three, one of which does not exist."""
    with client.Client(target) as dshpc:
        iris = dshpc.upload(DATA / "iris.csv")
        summary = types_pb2.JobConfig(
            config_id="by species", method_name="column_summary", file_hash=iris
        )
        summary.parameters.update({"columns": ["petal_length_cm"], "group_by": "species"})
        answer = dshpc.run(
            [
                summary,
                types_pb2.JobConfig(
                    config_id="what is missing", method_name="missing_values", file_hash=iris
                ),
                types_pb2.JobConfig(config_id="tomorrow", method_name="horoscope", file_hash=iris),
            ],
            display_name="a first batch",
            until=types_pb2.UNTIL_FINISHED,  # without this: as soon as everything is looked up
        )
    for row in answer.results:
        print(f"{row.config_id}: {row.message}")
        if row.new_status == types_pb2.JOB_STATUS_COMPLETED:
            print(row.output)
    counts = answer.statistics
    print(f"{counts.completed_jobs} of {counts.total_jobs} completed")


if __name__ == "__main__":
    main(*sys.argv[1:])
