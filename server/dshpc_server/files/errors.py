"""What can be wrong with content that somebody wants stored."""

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation

_HASH_FIELD = "file_hash"
_ANNOUNCED_HASH_FIELD = "header.file_hash"
_SIZE_FIELD = "header.size_bytes"
_OFFSET_FIELD = "header.write_offset"


class NotAHashError(errors.InvalidRequestError):
    """What was given as a hash is none; it never became a path."""

    def __init__(self) -> None:
        super().__init__(
            Violation(field=_HASH_FIELD, description="is not a SHA-256 in lower-case hex")
        )


class WrongHashError(errors.InvalidRequestError):
    """The bytes that came do not have the hash that was announced; nothing was stored."""

    def __init__(self, *, announced: str, actual: str) -> None:
        description = f"the bytes received have SHA-256 {actual}, not {announced}"
        super().__init__(Violation(field=_ANNOUNCED_HASH_FIELD, description=description))
        self.announced = announced
        self.actual = actual


class WrongSizeError(errors.InvalidRequestError):
    """More or fewer bytes came than were announced; nothing was stored.

    `actual` is what had come when it was noticed: of too many, perhaps not all.
    """

    def __init__(self, *, announced: int, actual: int) -> None:
        amount = "more" if actual > announced else "fewer"
        description = f"{announced} bytes were announced, and {amount} came ({actual})"
        super().__init__(Violation(field=_SIZE_FIELD, description=description))
        self.announced = announced
        self.actual = actual


class WrongOffsetError(errors.InvalidRequestError):
    """An upload cannot go on from there; what is committed stays as it was."""

    def __init__(self, offset: int, committed_bytes: int) -> None:
        description = f"{offset} is beyond what is committed, {committed_bytes} bytes"
        super().__init__(Violation(field=_OFFSET_FIELD, description=description))
        self.offset = offset
        self.committed_bytes = committed_bytes


class StoredMeanwhileError(errors.DshpcError):
    """What an upload was to go on with is whole and stored."""


class OutputRefusedError(errors.DshpcError):
    """What a job left as its output is not a file whose bytes can be kept."""
