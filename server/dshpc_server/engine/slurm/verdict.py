"""What has become of an attempt that has no exit record. Pure; the order of belief is settled here.

The wrapper's exit record wins over everything, so whoever asks has looked for one first. Then
counts what Slurm says of the task under our own name: ids are given again after a crash. What Slurm
does not know any more is lost after a grace, but only while its controller answers: one that does
not answer changes nothing.

That a task is not told of has three reasons. The submission never arrived, or the controller was
restarted and has forgotten it: then it is gone, after `grace_seconds`. Or the answer is wrong: a
task that was accepted does not vanish from a controller that went on running, so that is believed
after `doubt_seconds` only, and never of an attempt whose wrapper has shown itself meanwhile.
"""

import dataclasses
import enum

from dshpc_server.engine.slurm import cluster, states


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long to wait for what may still come. Seconds."""

    grace_seconds: float = 10.0
    """Until a task that is not told of counts as gone."""
    doubt_seconds: float = 120.0
    """The same while nothing explains why it should be gone."""
    settle_seconds: float = 5.0
    """From the end that Slurm tells to where no exit record is expected any more."""
    alive_seconds: float = 90.0
    """A wrapper that showed itself so lately is taken to live, whatever Slurm says."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What is known of an attempt without an exit record."""

    task: cluster.Task | None
    """As Slurm tells it, under our own name; None when it tells nothing."""
    gone_seconds: float
    """How long it has been ended, or not told of, by answers since then."""
    may_be_forgotten: bool
    """Nobody knows that it was accepted, or the controller was restarted since."""
    alive_seconds_ago: float | None
    """When its wrapper showed itself last; None when it never did."""


class Kind(enum.Enum):
    """What there is to do."""

    THERE = "THERE"
    """Slurm has it, or nobody knows better."""
    ENDED = "ENDED"
    """Slurm has ended it; `states.meaning` says as what."""
    GONE = "GONE"
    """Nothing knows of it any more."""


def kind(seen: Seen, patience: Patience) -> Kind:
    """What has become of it."""
    if seen.task is None:
        return Kind.GONE if _is_gone(seen, patience) else Kind.THERE
    return Kind.ENDED if seen.task.state in states.ENDED else Kind.THERE


def _is_gone(seen: Seen, patience: Patience) -> bool:
    if seen.alive_seconds_ago is not None and seen.alive_seconds_ago < patience.alive_seconds:
        return False
    limit = patience.grace_seconds if seen.may_be_forgotten else patience.doubt_seconds
    return seen.gone_seconds >= limit
