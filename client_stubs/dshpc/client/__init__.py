"""The client library.

from dshpc import client
from dshpc.v1 import types_pb2

with client.Client("127.0.0.1:50051") as dshpc:
    file_hash = dshpc.upload("table.csv")
    config = types_pb2.JobConfig(method_name="column_stats", file_hash=file_hash)
    for event in dshpc.stream([config]):
        print(event)
"""

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
    ServerError,
    ServerUnavailableError,
    TimedOutError,
    Violation,
)
from dshpc.client.files import UploadedFile, UploadProgress
from dshpc.client.sync import Client

__all__ = [
    "AccessDeniedError",
    "CallError",
    "Client",
    "CorruptDownloadError",
    "DshpcError",
    "FileChangedError",
    "IncompleteStreamError",
    "InvalidRequestError",
    "LimitExceededError",
    "NotFoundError",
    "ServerError",
    "ServerUnavailableError",
    "TimedOutError",
    "UploadProgress",
    "UploadedFile",
    "Violation",
]
