"""The statuses of a job, grouped as the contract groups them."""

from typing import Final

from dshpc.v1 import types_pb2

IN_PROGRESS: Final = frozenset(
    {
        types_pb2.JOB_STATUS_PENDING,
        types_pb2.JOB_STATUS_CONFIGURING,
        types_pb2.JOB_STATUS_RUNNING,
        types_pb2.JOB_STATUS_SUSPENDED,
        types_pb2.JOB_STATUS_COMPLETING,
        types_pb2.JOB_STATUS_BLOCKED,
    }
)
FAILED: Final = frozenset(
    {
        types_pb2.JOB_STATUS_FAILED,
        types_pb2.JOB_STATUS_TIMEOUT,
        types_pb2.JOB_STATUS_NODE_FAIL,
        types_pb2.JOB_STATUS_OUT_OF_MEMORY,
        types_pb2.JOB_STATUS_BOOT_FAIL,
        types_pb2.JOB_STATUS_DEADLINE,
        types_pb2.JOB_STATUS_PREEMPTED,
    }
)
ENDED: Final = FAILED | {
    types_pb2.JOB_STATUS_COMPLETED,
    types_pb2.JOB_STATUS_CANCELLED,
    types_pb2.JOB_STATUS_SKIPPED,
}
