"""What Slurm's states mean for us: does a task wait, may its wrapper live, how has it ended.

Promise: every state that we know is in exactly one of WAITING, RUNNING and ENDED; nothing follows
from UNKNOWN.
"""

import enum

from dshpc_server.engine.slurm.cluster import State

WAITING = frozenset(
    {
        State.PENDING,
        # It has nodes, which are booting: the wrapper is not there yet.
        State.CONFIGURING,
        # Put back by an administrator, whom --no-requeue does not keep from it.
        State.REQUEUED,
        State.REQUEUE_FED,
        State.REQUEUE_HOLD,
        State.RESV_DEL_HOLD,
        State.SPECIAL_EXIT,
    }
)
"""The wrapper does not run; it will, or never has."""

RUNNING = frozenset(
    {
        State.RUNNING,
        # Its end is decided, and its processes are being stopped: the wrapper may be at its record.
        State.COMPLETING,
        State.RESIZING,
        State.SIGNALING,
        State.STAGE_OUT,
        State.STOPPED,
        State.SUSPENDED,
    }
)
"""The wrapper may live."""

SUSPENDED = frozenset({State.STOPPED, State.SUSPENDED})
"""The wrapper lives, and stands still."""

ENDED = frozenset(
    {
        State.BOOT_FAIL,
        State.CANCELLED,
        State.COMPLETED,
        State.DEADLINE,
        State.FAILED,
        State.NODE_FAIL,
        State.OUT_OF_MEMORY,
        State.PREEMPTED,
        State.REVOKED,
        State.TIMEOUT,
    }
)
"""It is over for Slurm. After NODE_FAIL the wrapper may still run, where nobody can reach it."""

REFUSED_REASON = "BadConstraints"
"""Why a task failed that sbatch was told is refused: Slurm keeps a record of it all the same."""


class Meaning(enum.Enum):
    """What an end without a record of the wrapper's is for us."""

    LOST = enum.auto()
    """The process is gone or out of reach, and how it ended nobody knows."""
    NOT_STARTED = enum.auto()
    CANCELLED = enum.auto()
    OVER_TIME = enum.auto()
    OVER_MEMORY = enum.auto()
    PREEMPTED = enum.auto()
    PAST_DEADLINE = enum.auto()


_MEANINGS = {
    State.BOOT_FAIL: Meaning.NOT_STARTED,
    State.CANCELLED: Meaning.CANCELLED,
    State.COMPLETED: Meaning.LOST,  # the wrapper always leaves a record when it ends by itself
    State.DEADLINE: Meaning.PAST_DEADLINE,
    State.FAILED: Meaning.LOST,
    State.NODE_FAIL: Meaning.LOST,
    State.OUT_OF_MEMORY: Meaning.OVER_MEMORY,
    State.PREEMPTED: Meaning.PREEMPTED,
    State.REVOKED: Meaning.LOST,
    State.TIMEOUT: Meaning.OVER_TIME,
}


def meaning(state: State) -> Meaning:
    """What this end is for us; the state is one of ENDED."""
    return _MEANINGS[state]
