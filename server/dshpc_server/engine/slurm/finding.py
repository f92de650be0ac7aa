"""What is found in the folders of attempts: the one place that reads them, many at a time.

Everything here blocks, and is called in a thread. Where a disk does not tell, nothing is known, and
it is looked at again.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import structlog

from dshpc_server.engine.slurm import facts, records, states
from dshpc_server.engine.slurm.watching import Watched, WatchedArray

_log = structlog.get_logger(__name__)


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


def ended(arrays: Sequence[WatchedArray]) -> Sequence[Watched]:
    """List those whose end wrappers have marked since it was last taken note of."""
    return [
        watched
        for array in arrays
        for mark in array.folder.ended(array.known_ended)
        if (watched := array.live.get(mark)) is not None
    ]


def begun(arrays: Sequence[WatchedArray], running: Sequence[Watched]) -> Sequence[Found]:
    """Read what has begun since that was last taken note of.

    `running` are, of each task that runs, the first whose start was not told.
    """
    reader = _Reader()
    found = [each for array in arrays for each in _marked(reader, array)]
    seen = {each.watched.name for each in found}
    found += reader.each([watched for watched in running if watched.name not in seen])
    reader.close()
    return found


def _marked(reader: "_Reader", array: WatchedArray) -> Iterator[Found]:
    """Read what has begun in tasks of which that is news."""
    new = [name for name in array.folder.begun(array.known_begun) if name.isdecimal()]
    tasks = array.tasks() if new else {}
    for name in new:
        first = next_of(tasks.get(int(name), ()))
        found = list(reader.each(first))
        if not first or (found and found[0].start is not None):
            array.known_begun.add(name)
        yield from found


def next_of(task: Sequence[Watched]) -> Sequence[Watched]:
    """The first of a task whose start was not told: they run one after the other."""
    return [watched for watched in task if not watched.has_started][:1]


def missing(attempts: Sequence[tuple[WatchedArray, Watched]]) -> Sequence[Found]:
    """Read what there is of attempts that Slurm does not have in its queue."""
    arrays = {watched.name: array for array, watched in attempts}
    return [
        dataclasses.replace(
            found,
            alive_seconds_ago=arrays[found.watched.name].folder.alive_seconds_ago(place.index),
            is_marked=arrays[found.watched.name].folder.is_cancelled(place),
        )
        for found in each([watched for _, watched in attempts])
        if (place := found.watched.place) is not None
    ]


def each(attempts: Sequence[Watched]) -> Sequence[Found]:
    """Read what there is of these, as far as the disk tells."""
    reader = _Reader()
    found = list(reader.each(attempts))
    reader.close()
    return found


class _Reader:
    """Reads many, and leaves out those of which the disk does not tell: one holds up no other."""

    def __init__(self) -> None:
        self._unread = 0
        self._error = ""

    def each(self, attempts: Iterable[Watched]) -> Iterator[Found]:
        """Yield what there is of these."""
        for watched in attempts:
            try:
                yield one(watched)
            except OSError as error:
                self._unread += 1
                self._error = str(error)

    def close(self) -> None:
        """Tell the log of those that were left out."""
        if self._unread:
            _log.warning("engine.no_look", attempts=self._unread, error=self._error)


def one(watched: Watched) -> Found:
    """Read an attempt's records. Raises OSError."""
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
