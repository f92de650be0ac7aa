"""The error tree. Errors carry data; `transport.status` alone turns them into status codes.

Row errors are not here: a row that fails is an answer (`domain.rejection`), not an exception.
"""

from dshpc_server.domain.rejection import Violation


class DshpcError(Exception):
    """Something the caller is to be told about."""


class InvalidRequestError(DshpcError):
    """The request is malformed; nothing was done."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations


class NotFoundError(DshpcError):
    """What the request names does not exist."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} '{name}' not found")
        self.kind = kind
        self.name = name


class LimitExceededError(DshpcError):
    """The request is over a limit that GetServerInfo publishes."""

    def __init__(self, limit: str, *, maximum: int, actual: int) -> None:
        super().__init__(f"{limit}: {actual} is over the limit of {maximum}")
        self.limit = limit
        self.maximum = maximum
        self.actual = actual


class InUseError(DshpcError):
    """What is to be removed is needed; the same request may succeed later."""

    def __init__(self, kind: str, name: str, *, user: str) -> None:
        super().__init__(f"{kind} '{name}' is needed by {user}")
        self.kind = kind
        self.name = name
        self.user = user


class RequestReusedError(DshpcError):
    """The name of another request; the same one with a new name would be done."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request_id '{request_id}' is that of a request that asked otherwise")
        self.request_id = request_id


class NothingToRetryError(DshpcError):
    """Every row of the batch is COMPLETED, or has not ended."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"batch '{batch_id}' has no row that ended without completing")
        self.batch_id = batch_id


class SupersededError(DshpcError):
    """Another call has taken over what this one was doing."""


class UnavailableError(DshpcError):
    """The service cannot answer now; the same request may succeed later."""

    def __init__(self, reason: str, *, retry_after_seconds: float) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class NoRoomError(UnavailableError):
    """It cannot be written now: there is no room on disk, or the device fails."""


class NoAnswerError(UnavailableError):
    """The disk does not say what is there, or does not give it back: that is not known to be gone.

    What others need may be there all the same.
    """


class BeingRemovedError(UnavailableError):
    """What the request needs is being removed; once that has ended, it is missing."""

    def __init__(self, kind: str, name: str, *, retry_after_seconds: float) -> None:
        super().__init__(
            f"{kind} '{name}' is being removed", retry_after_seconds=retry_after_seconds
        )
        self.kind = kind
        self.name = name
