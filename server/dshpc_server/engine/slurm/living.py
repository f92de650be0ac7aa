"""Whether an attempt may run on the cluster, for those who have nothing but its folder.

Slurm is not asked, so this goes by the wrapper, which shows itself while it lives. One that waits
in Slurm's queue does not count: without its folder it never starts. Where a task holds others, what
an attempt's folder says of it counts for nothing.
"""

import pathlib

from dshpc_server import disk
from dshpc_server.engine.slurm import array_folder, verdict

_ANY_PREFIX = "dshpc-"
_ALIVE_SECONDS = verdict.Patience().alive_seconds


def shows_itself(folder: pathlib.Path, arrays_dir: pathlib.Path) -> bool:
    """Whether the attempt of this folder has not ended, and its wrapper was there a moment ago.

    `arrays_dir` has the folders of all arrays. Raises OSError, and errors.NoAnswerError where the
    disk does not tell.
    """
    name = f"{folder.parent.name}.{folder.name}"
    place = array_folder.find_place(folder, name, arrays_dir=arrays_dir, prefix=_ANY_PREFIX)
    if place is None or disk.status(folder / "exit") is not None:
        return False
    array = array_folder.ArrayFolder(arrays_dir, place.array)
    seconds_ago = array.alive_seconds_ago(place.index)
    return seconds_ago is not None and seconds_ago < _ALIVE_SECONDS
