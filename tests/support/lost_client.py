"""A client of its own that asks for a batch which is to go with it, and then does nothing more.

`python lost_client.py ADDRESS FILE_HASH` asks for a job of the method `hold` and prints the name of
its batch; it waits for the end until it is killed.
"""

import sys

import grpc

from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2


def main(address: str, file_hash: str) -> None:
    """Ask, say what was accepted, and follow the batch."""
    with grpc.insecure_channel(address) as channel:
        stream = job_service_pb2_grpc.JobServiceStub(channel).StreamSimulateJobs(
            job_service_pb2.StreamSimulateJobsRequest(
                jobs=[types_pb2.JobConfig(method_name="hold", file_hash=file_hash)],
                options=types_pb2.BatchOptions(cancel_on_disconnect=True),
            )
        )
        for event in stream:
            print(event.accepted.batch_id, flush=True)  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    main(*sys.argv[1:])
