"""What is found in the folders of attempts: the one place that reads them, many at a time.

Everything here blocks, and is called in a thread. Raises OSError where a disk does not tell: then
nothing is known, and it is looked at again.
"""

import dataclasses
from collections.abc import Collection, Iterator, Sequence

from dshpc_server.engine.slurm import facts, records, states
from dshpc_server.engine.slurm.watching import Watched, WatchedArray


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What an attempt's folder holds."""

    watched: Watched
    exit: records.ExitRecord | None
    start: records.StartRecord | None
    """None for one that never ran, or not yet."""
    is_unreadable: bool = False
    """What stands in the place of the exit record is none."""
    alive_seconds_ago: float | None = None
    """When its wrapper showed itself last; None when that was not asked, or it never did."""
    is_marked: bool = False
    """Some server has asked its wrapper to stop it."""


def marked(arrays: Sequence[WatchedArray], running: Sequence[Sequence[Watched]]) -> Sequence[Found]:
    """Read what wrappers have marked as ended since the last look, and what has begun.

    `running` are the attempts of tasks that run, of each those whose start was not told, in order.
    """
    found = []
    for array in arrays:
        marks = array.folder.ended(array.known_ended)
        ended = [watched for mark in marks if (watched := array.live.get(mark)) is not None]
        found += [one(watched) for watched in ended]
        found += _begun(array, {watched.name for watched in ended})
    for task in running:
        found += _in_order(task)
    return found


def _begun(array: WatchedArray, ended: Collection[str]) -> Iterator[Found]:
    """Read what has begun in tasks of which that is news."""
    new = [name for name in array.folder.begun(array.known_begun) if name.isdecimal()]
    tasks = array.tasks() if new else {}
    for name in new:
        task = [one for one in tasks.get(int(name), ()) if not one.has_started]
        found = list(_in_order([one for one in task if one.name not in ended]))
        if not found or found[0].start is not None:
            array.known_begun.add(name)
        yield from found


def _in_order(task: Sequence[Watched]) -> Iterator[Found]:
    """Read of the attempts of one task those that have begun, and the next."""
    for watched in task:
        found = one(watched)
        yield found
        if found.start is None:
            break  # they run one after the other


def missing(attempts: Sequence[tuple[WatchedArray, Watched]]) -> Sequence[Found]:
    """Read what there is of attempts that Slurm does not have in its queue."""
    return [
        dataclasses.replace(
            one(watched),
            alive_seconds_ago=array.folder.alive_seconds_ago(watched.place.index),
            is_marked=array.folder.is_cancelled(watched.place),
        )
        for array, watched in attempts
        if watched.place is not None
    ]


def each(attempts: Sequence[Watched]) -> Sequence[Found]:
    """Read what there is of these."""
    return [one(watched) for watched in attempts]


def one(watched: Watched) -> Found:
    """Read an attempt's records."""
    end, is_unreadable = None, False
    records.freshen(watched.folder)
    try:
        end = records.read_exit(watched.folder, watched.name)
    except records.UnreadableError:
        is_unreadable = True
    if end is not None:
        start = facts.start_of(end)
    else:
        start = records.read_start(watched.folder, watched.name)
    return Found(watched=watched, exit=end, start=start, is_unreadable=is_unreadable)


def bar(watched: Watched, meaning: states.Meaning | None) -> bool:
    """See to it that an attempt is never started any more; False when it was started."""
    if meaning is states.Meaning.CANCELLED:
        return records.write_cancelled(watched.folder, watched.name)
    return records.close(watched.folder, watched.name)
