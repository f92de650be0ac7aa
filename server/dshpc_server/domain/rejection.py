"""Why a row names no job: a value that becomes the row's answer, never an exception of the call."""

import dataclasses
import enum


class Reason(enum.StrEnum):
    """The kinds of rejection; the word is `error.details[ErrorInfo].reason` at the edge."""

    METHOD_NOT_FOUND = "METHOD_NOT_FOUND"
    FILE_NOT_FOUND = "FILE_NOT_FOUND"
    INVALID_PARAMETERS = "INVALID_PARAMETERS"
    INVALID_INPUTS = "INVALID_INPUTS"
    INVALID_CONFIG = "INVALID_CONFIG"
    RESOURCES_UNAVAILABLE = "RESOURCES_UNAVAILABLE"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One thing wrong, and where."""

    field: str
    """Path as the request spells it, e.g. `parameters.bins`."""
    description: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """Why a row was rejected."""

    reason: Reason
    message: str
    """For people; names the hash, method or parameter."""
    violations: tuple[Violation, ...] = ()
