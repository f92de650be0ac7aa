"""The client library: `Client`, and `AsyncClient` for asyncio, with the same methods.

from dshpc import client
from dshpc.v1 import types_pb2

with client.Client("127.0.0.1:50051") as dshpc:
    file_hash = dshpc.upload("table.csv")
    config = types_pb2.JobConfig(method_name="column_summary", file_hash=file_hash)
    for row in dshpc.run_each([config]):
        print(row.output)
"""

from dshpc.client.aio import AsyncClient, AsyncRunningBatch
from dshpc.client.errors import (
    AccessDeniedError,
    CallError,
    CorruptDownloadError,
    DshpcError,
    FileChangedError,
    IncompleteStreamError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    PreconditionError,
    ServerError,
    ServerUnavailableError,
    SupersededError,
    TimedOutError,
    TooLargeError,
    Violation,
)
from dshpc.client.files import UploadedFile, UploadProgress
from dshpc.client.retries import RetryPolicy
from dshpc.client.sync import Client, RunningBatch

__all__ = [
    "AccessDeniedError",
    "AsyncClient",
    "AsyncRunningBatch",
    "CallError",
    "Client",
    "CorruptDownloadError",
    "DshpcError",
    "FileChangedError",
    "IncompleteStreamError",
    "InvalidRequestError",
    "LimitExceededError",
    "NotFoundError",
    "PreconditionError",
    "RetryPolicy",
    "RunningBatch",
    "ServerError",
    "ServerUnavailableError",
    "SupersededError",
    "TimedOutError",
    "TooLargeError",
    "UploadProgress",
    "UploadedFile",
    "Violation",
]
