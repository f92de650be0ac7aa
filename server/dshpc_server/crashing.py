"""Named moments at which a process can be told to die, so that tests can look at what is left.

The setting `crash_at` (of a runner: the variable DSHPC_RUNNER_CRASH_AT) says `NAME:N`, and the N-th
pass of that moment is SIGKILL: no handler runs, no buffer is written, as when the power of one
process is cut. Not armed, a moment costs a call and one look at a global. The standard library
alone: the runner has moments, too.
"""

import os
import signal
import threading

RUNNER_VARIABLE = "DSHPC_RUNNER_CRASH_AT"
"""The environment variable that arms a runner."""

POINTS = {
    "batch.accepted": "the batch is committed, its caller has no answer",
    "large.staged": "the pieces of a large batch are stored, it is not sealed",
    "large.sealed": "a large batch is sealed, none of its pieces is accepted",
    "large.piece_accepted": "a piece of a large batch is accepted, others are left",
    "store.before_commit": "a transaction has done its work and is not committed",
    "store.committed": "a transaction is committed, nobody was told",
    "claim.committed": "attempts are claimed, their engine has not heard of them",
    "launch.handed_over": "the engine was given attempts, nothing is recorded of it",
    "fact.taken": "the engine told a fact, it is not recorded",
    "output.stored": "an output is in the content store, its result is not recorded",
    "end.recorded": "an end is recorded, what the attempt left is not removed",
    "rows.settled": "who waits for what has ended is told, who can go on is not looked up",
    "rows.released": "rows that waited are looked up and submitted, nobody was told",
    "cancel.recorded": "the wish to cancel is recorded, the engine has not heard of it",
    "withdrawal.recorded": "rows are withdrawn, the engine has not heard of what it is to stop",
    "content.written": "content is written and durable under a temporary name",
    "content.renamed": "content has its name, which is not durable",
    "content.published": "content is durable under its name, nobody was told",
    "deletion.marked": "content is marked as being deleted, it is still on disk",
    "deletion.removed": "content is gone from disk, it is still marked",
    "array.in_place": "an array is in place, Slurm has not heard of it",
    "array.submitted": "Slurm has accepted an array, nothing is recorded of that",
    "array.recorded": "it is recorded that Slurm has accepted an array, nobody was told",
    "runner.spawned": "an attempt's process runs, there is no record of it",
    "runner.before_record": "an attempt has ended, its end is not on record",
    "runner.recorded": "an attempt's end is on record, nobody was told",
}
"""Every moment and what is true at it.

Those of a runner begin with `runner.`; those that `array.` begins come with Slurm alone.
"""


class _Armed:
    """The moment to die at."""

    def __init__(self, name: str, passes: int) -> None:
        self._name = name
        self._left = passes
        self._lock = threading.Lock()

    def pass_by(self, name: str) -> None:
        if name != self._name:
            return
        with self._lock:  # points are passed on several threads
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = None


def arm(text: str) -> None:
    """Die at `NAME:N`; "" disarms. Raises ValueError for what is no point, or no number."""
    global _armed  # noqa: PLW0603 - one for the process, as its death is
    if not text:
        _armed = None
        return
    name, _, passes = text.partition(":")
    if name not in POINTS:
        raise ValueError(f"crash_at: '{name}' is no crash point; there are {', '.join(POINTS)}")
    if not (passes.isascii() and passes.isdigit()) or int(passes) < 1:
        raise ValueError(f"crash_at: '{text}' does not say at which pass: NAME:N, N from 1")
    _armed = _Armed(name, int(passes))


def point(name: str) -> None:
    """Pass a moment; the process may not come back from it."""
    if _armed is not None:
        _armed.pass_by(name)
