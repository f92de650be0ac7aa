"""The port's facts, from what the wrapper put on record and from what Slurm says."""

import datetime
import signal

from dshpc_server.domain.job import Usage
from dshpc_server.engine import port
from dshpc_server.engine.slurm import cluster, records, states
from dshpc_server.engine.slurm.watching import Watched

OUTSIDE = "cancelled in Slurm, not by this service"
NOT_FOUND = "command not found: "
"""So begins why a wrapper has not started a job whose method is at fault; see `array_folder`.

Any other reason is one of the node: a folder that is not mounted there, a `/proc` that hides what
runs. The next attempt may come to a better one.
"""
_CAUSES = {
    "OVER_TIME": port.Cause.OVER_TIME,
    "OVER_MEMORY": port.Cause.OVER_MEMORY,
    "CANCELLED": port.Cause.CANCELLED,
}
_NO_CAUSE = "NONE"
_TERMINATED = "TERMINATED"
_NOT_STARTED = "NOT_STARTED"
_KILLS = (signal.SIGTERM, signal.SIGKILL)
"""What Slurm sends to all processes of a task, one after the other: the wrapper may come late."""
_MILLISECONDS = 1000


def needs_slurms_word(exit_record: records.ExitRecord, watched: Watched) -> bool:
    """Whether the record alone does not say why the attempt ended."""
    return exit_record.cause == _TERMINATED and not watched.is_cancelled


def may_be_killed_for_another(exit_record: records.ExitRecord, watched: Watched) -> bool:
    """Whether it may be that Slurm killed the job for one that had its id before, or has it now."""
    is_killed = exit_record.signal in _KILLS and exit_record.cause == _NO_CAUSE
    return is_killed and not watched.is_cancelled


def start_of(exit_record: records.ExitRecord) -> records.StartRecord | None:
    """How an attempt that has ended was started; None when it never ran."""
    if exit_record.cause == _NOT_STARTED or not exit_record.slurm_job_id:
        return None
    return records.StartRecord(
        slurm_job_id=exit_record.slurm_job_id, node=exit_record.node, at=exit_record.started_at
    )


def started(watched: Watched, start: records.StartRecord) -> port.Started:
    """It runs."""
    return port.Started(
        key=watched.key,
        at=start.at,
        engine_job_id=start.slurm_job_id,
        node=start.node,
        packing=watched.place.packing if watched.place else None,
    )


def said(task: cluster.Task) -> str:
    """What Slurm says of a task, for people."""
    return f"Slurm: {task.state}" + (f" ({task.reason})" if task.reason else "")


def ended(
    watched: Watched, found: records.ExitRecord, end: states.Meaning | None
) -> port.Exited | port.NotStarted:
    """What the wrapper put on record; `end` is what Slurm says of one that it terminated."""
    if found.cause == _NOT_STARTED:
        reason = found.reason or "it could not be started"
        return port.NotStarted(
            key=watched.key,
            at=found.ended_at,
            reason=reason,
            is_permanent=reason.startswith(NOT_FOUND),
        )
    cause, note = _CAUSES.get(found.cause, port.Cause.NONE), ""
    if found.cause == _TERMINATED:
        cause, note = _terminated(watched, end)
    cpu, queued = found.cpu_milliseconds, _queue_seconds(watched, found.started_at)
    return port.Exited(
        key=watched.key,
        at=found.ended_at,
        started_at=found.started_at,
        engine_job_id=found.slurm_job_id,
        node=found.node,
        exit_code=found.exit_code,
        signal=found.signal,
        cause=cause,
        stdout=watched.folder / "stdout",
        stderr=watched.folder / "stderr",
        usage=Usage(
            cpu_seconds=None if cpu is None else cpu / _MILLISECONDS,
            peak_memory_bytes=found.peak_memory_bytes,
            queue_seconds=queued,
        ),
        packing=watched.place.packing if watched.place else None,
        note=note,
    )


def meaning(watched: Watched, task: cluster.Task) -> states.Meaning:
    """What an end that Slurm tells is for this attempt."""
    told = states.meaning(task.state)
    if told is states.Meaning.OVER_TIME and watched.place and watched.place.packing:
        return states.Meaning.LOST  # its own limit the wrapper keeps: that of them all ran out
    return told


def ended_by_slurm(
    watched: Watched,
    task: cluster.Task,
    end: states.Meaning,
    *,
    at: datetime.datetime,
    started_at: datetime.datetime | None,
) -> port.Exited | port.NotStarted | port.Lost:
    """What Slurm says of an attempt that left no record; None for `started_at`: it never ran.

    `end` is what that is for us, `at` when it was seen: accounting may know when it was.
    """
    told, known = said(task), task.accounted
    if known is not None and known.ended_at is not None:
        at = min(at, known.ended_at)
    if end is states.Meaning.NOT_STARTED:
        return port.NotStarted(key=watched.key, at=at, reason=told)
    if end is states.Meaning.LOST or (started_at is None and end is not states.Meaning.CANCELLED):
        before = "" if started_at else "it was never started; "
        return port.Lost(key=watched.key, at=at, reason=before + told)
    cause, note = _CAUSE_OF[end], told
    if cause is port.Cause.CANCELLED:
        cause, note = _terminated(watched, end)
    begun_at = min(started_at or at, at)
    return port.Exited(
        key=watched.key,
        at=at,
        started_at=begun_at,
        engine_job_id=task.job_id,
        node=task.node,
        exit_code=None,
        signal=signal.SIGKILL,
        cause=cause,
        stdout=watched.folder / "stdout",
        stderr=watched.folder / "stderr",
        usage=Usage(
            cpu_seconds=known.cpu_seconds if known else None,
            peak_memory_bytes=known.peak_memory_bytes if known else None,
            queue_seconds=_queue_seconds(watched, begun_at),
        ),
        packing=watched.place.packing if watched.place else None,
        note=note,
    )


_CAUSE_OF = {
    states.Meaning.OVER_TIME: port.Cause.OVER_TIME,
    states.Meaning.OVER_MEMORY: port.Cause.OVER_MEMORY,
    states.Meaning.CANCELLED: port.Cause.CANCELLED,
    states.Meaning.PREEMPTED: port.Cause.PREEMPTED,
    states.Meaning.PAST_DEADLINE: port.Cause.PAST_DEADLINE,
}


def _terminated(watched: Watched, end: states.Meaning | None) -> tuple[port.Cause, str]:
    """Why the wrapper was told to stop."""
    if watched.is_cancelled:
        return port.Cause.CANCELLED, ""
    cause = _CAUSE_OF.get(end, port.Cause.CANCELLED) if end else port.Cause.CANCELLED
    return cause, OUTSIDE if cause is port.Cause.CANCELLED else ""


def _queue_seconds(watched: Watched, started_at: datetime.datetime) -> float | None:
    """How long it waited in Slurm's queue: from when it was put down to its start."""
    if watched.place is None:
        return None
    return max(0.0, (started_at - watched.place.at).total_seconds())
