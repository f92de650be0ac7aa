"""The attempts that the engine watches, and the arrays that their tasks are in.

Promise: what is watched is one value per attempt for as long as it is watched; an array is known
for as long as one of its attempts is. For the event loop's thread alone.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Collection, Iterator

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import contract, port
from dshpc_server.engine.slurm import array_folder, places


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Watched:
    """An attempt whose end was not reported yet."""

    key: AttemptKey
    name: str
    folder: pathlib.Path
    launch: port.Launch | None
    """How to submit it; None once it was accepted, and for what was recovered."""
    place: places.Place | None = None
    """None before it has one."""
    is_cancelled: bool = False
    has_started: bool = False
    is_suspended: bool = False
    has_ended: bool = False
    """Its end was found, and is being reported."""
    gone_since: float | None = None
    """Since when Slurm tells of its end, or nothing, by the monotonic clock."""
    killed_since: float | None = None
    """Since when a kill is on record that the record does not explain; by the same clock."""
    waits_for: str = ""
    """Slurm's word for why it waits."""


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class WatchedArray:
    """An array some of whose attempts have not ended."""

    folder: array_folder.ArrayFolder
    job_id: str | None
    """Slurm's id; None while nobody knows whether it was accepted."""
    accepted_at: datetime.datetime | None
    """By the wall clock; None while nobody knows."""
    is_being_sent: bool = False
    """The command that submits it runs just now."""
    live: dict[str, Watched] = dataclasses.field(default_factory=dict)
    """By their mark, those that have not ended."""
    known_ended: set[str] = dataclasses.field(default_factory=set)
    """The marks of those that have."""
    known_begun: set[str] = dataclasses.field(default_factory=set)
    """The tasks, by their number, whose first job is known to have begun."""

    def tasks(self) -> dict[int, list[Watched]]:
        """Return what is live by its task, each task's in their order."""
        by_task: dict[int, list[Watched]] = {}
        # A list at once: this runs in a thread, while others come and go.
        for watched in list(self.live.values()):
            if watched.place is not None:
                by_task.setdefault(watched.place.index, []).append(watched)
        for task in by_task.values():
            if len(task) > 1:
                task.sort(key=_position)
        return by_task


class Watching:
    """All of them."""

    def __init__(self, arrays_dir: pathlib.Path) -> None:
        self._arrays_dir = arrays_dir
        self._by_name: dict[str, Watched] = {}
        self._arrays: dict[str, WatchedArray] = {}
        self._nowhere: dict[str, Watched] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def arrays(self) -> Collection[WatchedArray]:
        """The arrays in which something has not ended."""
        return self._arrays.values()

    @property
    def nowhere(self) -> Collection[Watched]:
        """Attempts of which nothing tells in what array they are, if in any."""
        return self._nowhere.values()

    def find(self, key: AttemptKey) -> Watched | None:
        """The attempt as it is watched; None when it is not."""
        return self._by_name.get(contract.name_of(key))

    def is_current(self, watched: Watched) -> bool:
        """Whether the attempt is still watched as this one."""
        return self._by_name.get(watched.name) is watched

    def add(
        self, key: AttemptKey, folder: pathlib.Path, launch: port.Launch | None
    ) -> Watched | None:
        """Watch an attempt; None when it is watched already."""
        name = contract.name_of(key)
        if name in self._by_name:
            return None
        watched = Watched(key=key, name=name, folder=folder.absolute(), launch=launch)
        self._by_name[name] = watched
        return watched

    def drop(self, watched: Watched) -> None:
        """Watch it no more."""
        if self.is_current(watched):
            del self._by_name[watched.name]
        self.leave(watched)

    def enter(self, watched: Watched, place: places.Place) -> WatchedArray:
        """Take note of where an attempt was put; it is nowhere else any more."""
        self.leave(watched)
        array = self._arrays.get(place.array)
        if array is None:
            folder = array_folder.ArrayFolder(self._arrays_dir, place.array)
            array = WatchedArray(folder=folder, job_id=None, accepted_at=None)
            self._arrays[place.array] = array
        watched.place = place
        watched.gone_since = None
        array.live[place.mark] = watched
        array.known_ended.discard(place.mark)
        array.known_begun.discard(str(place.index))
        return array

    def put(self, watched: Watched, place: places.Place | None) -> None:
        """Take note of where an earlier server has put an attempt, if anything tells."""
        if place is None:
            self._nowhere[watched.name] = watched
        else:
            array = self.enter(watched, place)
            watched.launch = None
            if array.job_id is None and not array.is_being_sent:
                array.job_id, array.accepted_at = array.folder.accepted()

    def leave(self, watched: Watched) -> None:
        """Take an attempt out of its array: it has ended there, or never was."""
        if self._nowhere.get(watched.name) is watched:
            del self._nowhere[watched.name]
        place = watched.place
        array = self._arrays.get(place.array) if place is not None else None
        if place is None or array is None or array.live.get(place.mark) is not watched:
            return
        del array.live[place.mark]
        array.known_ended.add(place.mark)
        if not array.live:
            del self._arrays[place.array]

    def array_of(self, watched: Watched) -> WatchedArray | None:
        """The array that an attempt is in."""
        place = watched.place  # read once: it is asked for by other threads, too
        return None if place is None else self._arrays.get(place.array)

    def placed(self) -> Iterator[tuple[WatchedArray, Watched]]:
        """Yield every attempt that has a place and has not ended."""
        for array in list(self._arrays.values()):
            for watched in list(array.live.values()):
                yield array, watched


def _position(watched: Watched) -> int:
    return watched.place.position if watched.place is not None else 0


def task_id(array: WatchedArray, place: places.Place) -> str | None:
    """Slurm's id of a task; None while that of its array is not known."""
    return None if array.job_id is None else f"{array.job_id}_{place.index}"
