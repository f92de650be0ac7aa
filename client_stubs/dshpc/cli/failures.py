"""What went wrong, as one line for people and an exit code for scripts."""

from dshpc import client
from dshpc.cli import exit_codes
from dshpc.cli.arguments import ArgumentError
from dshpc.cli.fields import BatchFileError


def exit_code(error: Exception) -> int:
    """Return the exit code for an error."""
    if isinstance(error, client.ServerUnavailableError | client.TimedOutError):
        return exit_codes.UNAVAILABLE
    if isinstance(error, BatchFileError | ArgumentError):
        return exit_codes.USAGE
    if isinstance(error, client.SupersededError):
        return exit_codes.INCOMPLETE
    if isinstance(error, client.LimitExceededError) and error.retry_after_seconds is not None:
        return exit_codes.INCOMPLETE if error.is_passing else exit_codes.USAGE
    if isinstance(error, client.InvalidRequestError):
        return exit_codes.USAGE
    return exit_codes.NOT_COMPLETED


def described(error: Exception) -> str:
    """Return an error in one line, with what is wrong and where."""
    if isinstance(error, client.CallError) and error.code.name == "UNIMPLEMENTED":
        return f"the server does not know this call; it may be older than this command: {error}"
    if isinstance(error, client.CallError):
        return _with_violations(error) + _when_again(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _with_violations(error: client.CallError) -> str:
    sentence = str(error)
    if not error.violations:
        return sentence
    first, *others = error.violations
    if first.description not in sentence:
        sentence = f"{sentence}: {first.field}: {first.description}"
    return f"{sentence} (and {len(others)} more)" if others else sentence


def _when_again(error: client.CallError) -> str:
    seconds = error.retry_after_seconds
    if seconds is None or (isinstance(error, client.LimitExceededError) and not error.is_passing):
        return ""
    return f"; try again in {max(seconds, 1):.0f} s"
