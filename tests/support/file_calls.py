"""Short words for what tests ask the file service for."""

from dshpc.v1 import file_service_pb2
from support import calls


def missing(service: calls.Service, *hashes: str) -> list[str]:
    """Which of these are not stored."""
    asked = file_service_pb2.FindMissingFilesRequest(file_hashes=hashes)
    return list(service.files.FindMissingFiles(asked).missing_hashes)


def labels(service: calls.Service, file_hash: str) -> file_service_pb2.File:
    """What is known of a file."""
    asked = file_service_pb2.GetFileRequest(file_hash=file_hash)
    return service.files.GetFile(asked, timeout=60).file


def delete(service: calls.Service, file_hash: str) -> None:
    """Delete a file."""
    service.files.DeleteFile(file_service_pb2.DeleteFileRequest(file_hash=file_hash), timeout=60)
