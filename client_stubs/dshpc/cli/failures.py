"""What went wrong, as one line for people and an exit code for scripts."""

from dshpc import client
from dshpc.cli import exit_codes
from dshpc.cli.fields import BatchFileError


def exit_code(error: Exception) -> int:
    """Return the exit code for an error."""
    if isinstance(error, client.ServerUnavailableError | client.TimedOutError):
        return exit_codes.UNAVAILABLE
    if isinstance(error, BatchFileError | client.InvalidRequestError):
        return exit_codes.USAGE
    return exit_codes.NOT_COMPLETED


def described(error: Exception) -> str:
    """Return an error in one line, with what is wrong and where."""
    if isinstance(error, client.ServerUnavailableError):
        # gRPC puts what happened behind two phrases that say nothing.
        reason = str(error).rpartition("last error: ")[2].removeprefix("UNKNOWN: ")
        return f"the server does not answer: {reason}"
    if isinstance(error, client.CallError):
        return _with_violations(error)
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
