"""What sbatch's complaints mean: was the submission refused for certain, and for how long.

Promise: only what is known to be a refusal counts as one. Of anything else nobody knows whether the
controller took the submission before the connection broke, and it is looked up by its name.
"""

from dshpc_server.engine.slurm import parsing
from dshpc_server.engine.slurm.cluster import RefusedError, UnknownOutcomeError
from dshpc_server.engine.slurm.conversation import Answer

_FAILED = "Batch job submission failed: "
_ERROR = "sbatch: error: "
_USAGE_CODE = 255
_RETRYING = b"sleeping and retrying"
_RETRIES_AFTER_SECONDS = 1.0
"""sbatch sleeps so long before it tries again."""

_PASSING = frozenset(
    {
        "Slurm job queue full, sleeping and retrying",
        "Slurm temporarily unable to accept job, sleeping and retrying",
        "Unable to create job record, try again",
        "I/O error writing script/environment to file",
        "Requested operation is presently disabled",
        "Requested partition configuration not available now",
        "Requested reservation is in use",
        "Requested reservation not usable now",
        "Required node not available (down, drained or reserved)",
        "Required partition not available (inactive or drain)",
        "Requested account has breached requested QOS usage threshold",
        "Immediate execution impossible. Individual job submission scheduling attempts deferred",
        "Resource temporarily unavailable",
    }
)
"""The controller is short of something, or somebody may put it right: to be tried again."""

_PERMANENT = frozenset(
    {
        "Access denied to requested reservation",
        "Access/permission denied",
        "Burst Buffer permission denied",
        "Burst Buffer resource limit exceeded",
        "CPU count per node can not be satisfied",
        "CPU count specification invalid",
        "Duplicate generic resource (gres) specification",
        "Invalid GRES specification (with and without type identification)",
        "Invalid Trackable RESource (TRES) specification",
        "Invalid account or account/partition combination specified",
        "Invalid feature specification",
        "Invalid generic resource (gres) specification",
        "Invalid job array specification",
        "Invalid license specification",
        "Invalid node name specified",
        "Invalid partition name specified",
        "Invalid qos specification",
        "Invalid time-min specification (exceeds job's time or other limits)",
        "Invalid user id",
        "Invalid wckey specification",
        "Job --batch option is invalid or not a subset of --constraints",
        "Job dependency problem",
        "Job size specification needs to be provided",
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Memory required by task is not available",
        "More processors requested than permitted",
        "Multiple partition job request not supported when a partition is set in the association",
        "No partition specified or system default partition",
        "Node count specification invalid",
        "Only batch jobs are accepted or processed",
        "Pathname of a file, directory or other parameter too long",
        "Requested GRES option unsupported by configured SelectType plugin",
        "Requested more tasks than available processors",
        "Requested node configuration is not available",
        "Requested nodes not in this partition",
        "Requested operation not supported on this system",
        "Requested reservation is invalid",
        "Requested time limit is invalid (missing or exceeds some limit)",
        "Task count specification invalid",
        "Task distribution specification invalid",
        # What a site's own plugin answers that refuses a job; it has its say in the line before.
        "Unspecified error",
        "User's group not permitted to use this partition",
    }
)
"""The same would be refused again."""

# What accounting says before it refuses a job because of the number of others.
_TOO_MANY = "SubmitJob"
# What sbatch says before it tries again: the second is what MaxJobCount comes to.
_FULL = ("Slurm job queue full", "Slurm temporarily unable to accept job")


def is_retrying(complaints: bytes) -> bool:
    """Whether sbatch was refused, and is going to try again by itself."""
    return _RETRYING in complaints


def problem(answer: Answer) -> RefusedError | UnknownOutcomeError:
    """What it means that sbatch printed no job id, or failed."""
    lines = [line.strip() for line in answer.complaints.decode(errors="replace").splitlines()]
    said = "; ".join(parsing.first_line(line.removeprefix(_ERROR)) for line in lines[:2] if line)
    if is_retrying(answer.complaints):
        return _retrying(answer, said)
    for position, line in enumerate(lines):
        if _FAILED in line:
            before = (
                parsing.first_line(lines[position - 1].removeprefix(_ERROR)) if position else ""
            )
            return _failed(line.partition(_FAILED)[2], before)
    if answer.exit_code == _USAGE_CODE or (answer.exit_code == 1 and _is_local(lines)):
        return RefusedError(said or "sbatch does not take these options", is_permanent=True)
    return UnknownOutcomeError(said or _without_words(answer))


def _failed(reason: str, before: str) -> RefusedError | UnknownOutcomeError:
    told = parsing.first_line(reason) + (f" ({before})" if before else "")
    is_too_large = reason.startswith(_FULL) or (reason in _PERMANENT and _TOO_MANY in before)
    if reason in _PASSING or is_too_large:
        return RefusedError(told, is_permanent=False, is_too_large=is_too_large)
    if reason in _PERMANENT:
        return RefusedError(told, is_permanent=True)
    return UnknownOutcomeError(told)


def _retrying(answer: Answer, said: str) -> RefusedError | UnknownOutcomeError:
    """It was refused once. For good, if it was gone before it could try again."""
    if answer.seconds < _RETRIES_AFTER_SECONDS:
        is_too_large = any(words in said for words in _FULL)
        return RefusedError(said, is_permanent=False, is_too_large=is_too_large)
    return UnknownOutcomeError(said)


def _is_local(lines: list[str]) -> bool:
    """Whether sbatch itself found fault with its options, and sent nothing."""
    local = ("Unable to open file", "Invalid generic resource (gres) specification")
    return any(line.removeprefix(_ERROR).startswith(local) for line in lines)


def _without_words(answer: Answer) -> str:
    if answer.exit_code is None:
        return f"sbatch did not end within {answer.seconds:.0f} s"
    return f"sbatch ended with {answer.exit_code} and said nothing"
