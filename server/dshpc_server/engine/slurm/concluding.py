"""From what was found and what Slurm says to what is told of an attempt.

Promises: an exit record is told as it stands. Whoever is told as never started is barred from being
started before that. Nothing is concluded from a controller that does not answer: nobody asks here
then.
"""

import asyncio
import datetime
from collections.abc import Collection, Mapping

import structlog

from dshpc_server import clock
from dshpc_server.engine import delivery, port
from dshpc_server.engine.slurm import (
    cluster,
    facts,
    finding,
    places,
    records,
    standing,
    states,
    submitting,
    verdict,
    watching,
)
from dshpc_server.engine.slurm.finding import Found
from dshpc_server.engine.slurm.watching import Watched, WatchedArray

Table = Mapping[tuple[str, int], cluster.Task]
"""What Slurm tells, by array and index."""
_CLOCKS_APART = datetime.timedelta(seconds=5)
"""How far the clocks of the controller and of a server may be apart."""
_SETTLING = datetime.timedelta(seconds=60)
"""How long after its start a controller kills tasks for others, whose ids they were given again."""
_log = structlog.get_logger(__name__)


class Concluding:
    """Tells starts and ends. For the event loop's thread alone."""

    def __init__(
        self,
        *,
        watching: watching.Watching,
        standing: standing.Standing,
        delivery: delivery.Delivery[Watched],
        submitting: submitting.Submitting,
        patience: verdict.Patience,
        clock: clock.Clock,
    ) -> None:
        self._watching = watching
        self._standing = standing
        self._delivery = delivery
        self._submitting = submitting
        self._patience = patience
        self._clock = clock

    def from_records(self, found: Found) -> bool:
        """Tell what records say; whether nothing is left to be told."""
        watched = found.watched
        if watched.has_ended or not self._watching.is_current(watched):
            return True
        if found.start is not None and not watched.has_started:
            watched.has_started = True
            self._delivery.tell(watched, facts.started(watched, found.start))
        end = found.exit
        if end is None or facts.needs_slurms_word(end, watched) or self.is_to_say_first(found):
            return False
        self._recorded(watched, end, None)
        return True

    def is_to_say_first(self, found: Found) -> bool:
        """Whether the controller is to say first when it was started: see `_recorded`."""
        end, watched = found.exit, found.watched
        if end is None or not facts.may_be_killed_for_another(end, watched):
            return False
        if watched.killed_since is None:
            watched.killed_since = self._clock.monotonic()
        is_unsaid = self._standing.asked_at < watched.killed_since
        if is_unsaid:
            self._standing.doubt()
        return is_unsaid

    async def missing(self, found: Found, table: Table, known: Collection[str]) -> None:
        """Tell what has become of an attempt that Slurm has no more in its queue.

        `known` are the arrays that the controller itself has told of: accounting may know tasks of
        one that the controller has forgotten.
        """
        watched = found.watched
        if self.from_records(found) or self.is_to_say_first(found):
            return
        array, place = self._watching.array_of(watched), watched.place
        if array is None or place is None:
            return
        watched.is_cancelled |= found.is_marked  # by another server
        task = _task_of(found, array, place, table)
        # It may have come into the queue between the two questions: then it is to be stopped there.
        is_there = task is not None and task.state not in states.ENDED
        if watched.is_cancelled and not (is_there or found.start or found.exit):
            await self._cancelled_unstarted(watched)
            return
        gone_seconds = self._gone_seconds(watched)
        if self._is_to_say_more(watched, task):
            return
        if is_there:
            watched.gone_since = None
        if found.exit is not None:
            self._terminated(watched, found.exit, task, gone_seconds)
            return
        seen = verdict.Seen(
            task=task,
            gone_seconds=gone_seconds,
            # An array is forgotten as a whole, or not at all.
            may_be_forgotten=array.folder.name not in known and self._may_be_forgotten(array),
            alive_seconds_ago=found.alive_seconds_ago,
        )
        kind = verdict.kind(seen, self._patience)
        if kind is verdict.Kind.ENDED and task is not None:
            await self._ended(found, task, gone_seconds)
        elif kind is verdict.Kind.GONE:
            cancelled = None if seen.may_be_forgotten else _cancelled_alone(found, array, table)
            if cancelled is not None:
                await self._ended(found, cancelled, gone_seconds)
            else:
                await self._gone(found, array)

    def _gone_seconds(self, watched: Watched) -> float:
        """How long Slurm has told of its end, or not of it."""
        now = self._clock.monotonic()
        if watched.gone_since is None:
            watched.gone_since = now
        return now - watched.gone_since

    def _is_to_say_more(self, watched: Watched, task: cluster.Task | None) -> bool:
        """Whether the controller is to say first that it was not started anew: see `_meaning`."""
        if not _is_cancelled_elsewhere(watched, task) or watched.gone_since is None:
            return False
        is_unsaid = self._standing.asked_at < watched.gone_since
        if is_unsaid:
            self._standing.doubt()
        return is_unsaid

    async def nowhere(self, found: Found) -> None:
        """Tell of an attempt that no task was made for, or of which nothing tells where."""
        watched = found.watched
        if self.from_records(found) or self.is_to_say_first(found):
            return
        if found.exit is not None:
            self._recorded(watched, found.exit, None)
            return
        never = await asyncio.to_thread(finding.bar, watched, None)
        self._lose(
            watched, "it was never started" if never else "nothing tells where it was started"
        )

    async def _cancelled_unstarted(self, watched: Watched) -> None:
        """Tell of a cancelled attempt that Slurm has not, or no more: it keeps no record of it."""
        if await asyncio.to_thread(finding.bar, watched, states.Meaning.CANCELLED):
            self.from_records(await asyncio.to_thread(finding.one, watched))

    def _terminated(
        self,
        watched: Watched,
        end: records.ExitRecord,
        task: cluster.Task | None,
        gone_seconds: float,
    ) -> None:
        """Tell why a wrapper was told to stop, as soon as Slurm says, or says nothing for long."""
        has_said = task is not None and task.state in states.ENDED
        if not has_said and gone_seconds < self._patience.grace_seconds:
            return
        meaning = self._meaning(watched, task, end.ended_at) if task and has_said else None
        if meaning is states.Meaning.LOST and task is not None:
            self._lose(watched, facts.said(task))
        else:
            self._recorded(watched, end, meaning)

    def _recorded(
        self, watched: Watched, end: records.ExitRecord, meaning: states.Meaning | None
    ) -> None:
        """Tell what is on record of an end; `meaning` is what Slurm says of it."""
        if facts.may_be_killed_for_another(end, watched) and self._is_settling(end.ended_at):
            # The wrapper lived for the moment that it takes to write that down.
            self._lose(watched, "killed when a restarted controller had given its id again")
        else:
            self._tell_end(watched, facts.ended(watched, end, meaning))

    async def _ended(self, found: Found, task: cluster.Task, gone_seconds: float) -> None:
        """Tell of an end that Slurm tells and no record does."""
        watched, now = found.watched, self._clock.now()
        meaning = self._meaning(watched, task, now)
        if found.start is None:
            # One that has been started meanwhile is looked at again.
            if not await asyncio.to_thread(finding.bar, watched, meaning):
                return
        elif gone_seconds < self._patience.settle_seconds:
            return
        if found.is_unreadable:
            _log.warning("engine.unreadable_exit", attempt=watched.name)
        started_at = found.start.at if found.start is not None else None
        fact = facts.ended_by_slurm(watched, task, meaning, at=now, started_at=started_at)
        self._tell_end(watched, fact)

    async def _gone(self, found: Found, array: WatchedArray) -> None:
        """Tell that an attempt is lost, or submit it anew if it never came to be submitted."""
        watched = found.watched
        if found.start is not None:
            self._lose(watched, "Slurm knows nothing of it, and no exit is on record")
            return
        if watched.launch is not None:
            _log.warning("engine.submitted_again", array=array.folder.name)
            self._submitting.send_again(array)
        elif await asyncio.to_thread(finding.bar, watched, None):
            self._lose(watched, "it was never started, and Slurm knows nothing of it")

    def _may_be_forgotten(self, array: WatchedArray) -> bool:
        """Whether it can be that the controller does not know an array any more."""
        booted_at = self._standing.booted_at
        if array.accepted_at is None:
            return True
        return booted_at is not None and booted_at >= array.accepted_at - _CLOCKS_APART

    def _meaning(
        self, watched: Watched, task: cluster.Task, at: datetime.datetime
    ) -> states.Meaning:
        """What an end that Slurm tells is for an attempt that was over then.

        A controller that was killed gives ids again that jobs on its nodes still have. These are
        then killed by their ids, by nobody's wish, and so are the tasks that have them now.
        """
        if self._is_settling(at) and _is_cancelled_elsewhere(watched, task):
            return states.Meaning.LOST
        return facts.meaning(watched, task)

    def _is_settling(self, at: datetime.datetime) -> bool:
        """Whether the controller had been started anew just then, while we knew it."""
        restarted_at = self._standing.restarted_at
        return restarted_at is not None and -_CLOCKS_APART <= at - restarted_at <= _SETTLING

    def _lose(self, watched: Watched, reason: str) -> None:
        self._tell_end(watched, port.Lost(key=watched.key, at=self._clock.now(), reason=reason))

    def _tell_end(self, watched: Watched, fact: port.Fact) -> None:
        watched.has_ended = True
        self._watching.leave(watched)
        self._delivery.tell(watched, fact)


def _is_cancelled_elsewhere(watched: Watched, task: cluster.Task | None) -> bool:
    """Whether Slurm tells of a cancel that was not ours."""
    is_cancelled = task is not None and task.state is cluster.State.CANCELLED
    return is_cancelled and not watched.is_cancelled


def _cancelled_alone(found: Found, array: WatchedArray, table: Table) -> cluster.Task | None:
    """The task of one that was cancelled in Slurm while it waited, and others of its array not.

    Slurm keeps no record of such a task, but tells of the others.
    """
    place = found.watched.place
    if place is None or found.start is not None or array.job_id is None:
        return None
    if not any(name == array.folder.name for name, _ in table):
        return None
    return cluster.Task(
        name=array.folder.name,
        index=place.index,
        job_id=f"{array.job_id}_{place.index}",
        state=cluster.State.CANCELLED,
        node="",
        reason="",
    )


def _task_of(
    found: Found, array: WatchedArray, place: places.Place, table: Table
) -> cluster.Task | None:
    """The task that the attempt is in: that of its place, or of another array that was sent, too.

    One array can be sent after another of which nobody knew that it had arrived: then the task that
    comes second finds nothing to do.
    """
    task = table.get((array.folder.name, place.index))
    if found.start is None:
        # Of tasks that were cancelled before they began Slurm may have one record for all.
        return task or table.get((array.folder.name, cluster.REST))
    started_in = found.start.slurm_job_id
    # Only then: ids are given again, and what has ours may be a stranger.
    if array.job_id is None or started_in in ("", watching.task_id(array, place)):
        return task
    deployment = array.folder.name.rpartition("-")[0]
    others = (one for one in table.values() if one.job_id == started_in)
    return next((one for one in others if one.name.startswith(f"{deployment}-")), None)
