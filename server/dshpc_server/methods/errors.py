"""What can be wrong with installed methods and with the parameters given to one."""

import pathlib

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation


class MethodsDirError(errors.DshpcError):
    """The methods folder as a whole cannot be read; nothing was loaded and nothing changed."""

    def __init__(self, folder: pathlib.Path, reason: str) -> None:
        super().__init__(f"methods folder {folder}: {reason}")
        self.folder = folder
        self.reason = reason


class ManifestError(errors.DshpcError):
    """One manifest, or the script folder it speaks of, cannot be used."""

    def __init__(self, file: pathlib.Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


class UnreadableError(ManifestError):
    """The disk does not give it back just now, which says nothing about what is in it."""


class TreeError(errors.DshpcError):
    """A script folder holds something that cannot be hashed and copied, or keeps changing."""


class ParameterError(errors.InvalidRequestError):
    """The parameters do not fit the method; `violations` says which and why."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__(*violations)


def reason(error: Exception) -> str:
    """Say why, for people: an error of the system in its own words, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
