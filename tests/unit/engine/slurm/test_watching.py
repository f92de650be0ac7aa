"""What is watched of an array, while others of it come and go."""

import datetime
import pathlib
from collections.abc import Callable
from typing import cast

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine.slurm import places, watching

COUNT = 5


class _Telling:
    """A place that tells when it is asked where: a thread may be about to, while another works."""

    def __init__(self, place: places.Place, then: Callable[[], None]) -> None:
        self._place = place
        self._then = then

    @property
    def index(self) -> int:
        self._then()
        return self._place.index


def test_what_comes_and_goes_while_the_tasks_of_an_array_are_read_disturbs_nobody() -> None:
    everybody = watching.Watching(pathlib.Path("/nowhere"))
    first, *rest = [_add(everybody, number) for number in range(COUNT)]
    (array,) = everybody.arrays
    place = first.place
    assert place is not None

    def come_and_go() -> None:
        everybody.drop(rest[-1])
        _add(everybody, COUNT)
        _add(everybody, COUNT + 1)

    first.place = cast("places.Place", _Telling(place, come_and_go))
    tasks = array.tasks()
    first.place = place

    assert {index: tasks[index] for index in range(COUNT - 1)} == {
        index: [watched] for index, watched in enumerate([first, *rest[:-1]])
    }
    assert set(array.tasks()) == {*range(COUNT - 1), COUNT, COUNT + 1}


def _add(everybody: watching.Watching, number: int) -> watching.Watched:
    """Watch one more, which is the task of this number."""
    key = AttemptKey(job_id=f"{number:064x}", number=1)
    watched = everybody.add(key, pathlib.Path("/nowhere/attempt"), None)
    assert watched is not None
    at = datetime.datetime.fromtimestamp(0, datetime.UTC)
    everybody.enter(
        watched, places.Place(array="one", index=number, position=0, packing=None, at=at)
    )
    return watched
