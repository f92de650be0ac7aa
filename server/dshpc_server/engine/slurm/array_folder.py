"""What an array finds on the shared file system: its tasks, and the folders of their attempts.

    ARRAYS/NAME/tasks/N        what the wrapper of task N runs, one call for each job
    ARRAYS/NAME/ended/N.P      made by the wrapper when the job at position P of it has ended
    ARRAYS/NAME/cancel/N.P     made by the server to have that job stopped
    ARRAYS/NAME/now/N          touched by the wrapper of task N while it lives
    ARRAYS/NAME/job_id         Slurm's id, as soon as it is known
    ATTEMPT/                   params.json, workspace/tmp/, task.json

Promise: everything is in place before the array is submitted. All of it blocks.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import time
from collections.abc import Collection, Mapping, Sequence

from dshpc_server import errors
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import contract, port
from dshpc_server.engine.slurm import arrays, places, tasks_file

_FOLDERS = ("tasks", "ended", "now", "cancel")
_FILE_MODE = 0o600
_ID_LIMIT_CHARACTERS = 64
_IN_THE_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)


class InTheWayError(errors.DshpcError):
    """Something is where the folder of an attempt is to be, as a method can leave it."""

    def __init__(self, key: AttemptKey, reason: str) -> None:
        super().__init__(reason)
        self.key = key


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A launch and where it was put."""

    launch: port.Launch
    place: places.Place


class ArrayFolder:
    """The folder of one array."""

    def __init__(self, arrays_dir: pathlib.Path, name: str) -> None:
        self.name = name
        self.path = arrays_dir / name

    def fill(
        self,
        tasks: Sequence[Sequence[port.Launch]],
        environment: Mapping[str, str],
        *,
        at: datetime.datetime,
    ) -> Sequence[Placed]:
        """Make the folder with these tasks, and the folders of their attempts.

        Raises InTheWayError for one of them, and OSError.
        """
        for each in _FOLDERS:
            (self.path / each).mkdir(mode=0o700, parents=True, exist_ok=True)
        placed = []
        for index, task in enumerate(tasks):
            packing = arrays.packing(task)
            for position, launch in enumerate(task):
                place = places.Place(
                    array=self.name, index=index, position=position, packing=packing, at=at
                )
                try:
                    _make_attempt_folder(launch, place)
                except OSError as error:
                    if not _is_in_the_way(error, launch.folder):
                        raise
                    raise InTheWayError(launch.key, f"its folder: {error.strerror}") from error
                placed.append(Placed(launch=launch, place=place))
            jobs = [_task_job(launch, environment) for launch in task]
            _write(self.path / "tasks" / str(index), tasks_file.text(jobs))
        return placed

    def keep_job_id(self, job_id: str) -> None:
        """Remember Slurm's id: the submission was accepted. Raises OSError."""
        new = self.path / "job_id.new"
        _write(new, job_id)
        new.rename(self.path / "job_id")

    def accepted(self) -> tuple[str, datetime.datetime] | tuple[None, None]:
        """Slurm's id, and since when it is known; None when it is not known that there is one."""
        path = self.path / "job_id"
        try:
            text = path.read_text()[:_ID_LIMIT_CHARACTERS]
            at = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
        except (OSError, ValueError, OverflowError):
            return None, None
        return (text, at) if text.isascii() and text.isdigit() else (None, None)

    def ended(self, known: Collection[str]) -> Sequence[str]:
        """The marks of the jobs that have ended, but for those that are known."""
        try:
            return [name for name in os.listdir(self.path / "ended") if name not in known]  # noqa: PTH208 - names alone, and thousands
        except OSError:  # gone, or not to be told for the moment: Slurm tells of the ends
            return ()

    def begun(self, known: Collection[str]) -> Sequence[str]:
        """The tasks whose wrapper has begun with a job, but for those that are known."""
        try:
            return [name for name in os.listdir(self.path / "now") if name not in known]  # noqa: PTH208 - names alone, and thousands
        except OSError:  # gone, or not to be told for the moment: Slurm tells of the starts
            return ()

    def holds(self, place: places.Place, name: str) -> bool:
        """Whether this attempt was put there, as far as there is anything that tells."""
        try:
            text = (self.path / "tasks" / str(place.index)).read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return True
        calls = [line for line in text.splitlines() if line.startswith("job ")]
        return place.position < len(calls) and f" {name} " in calls[place.position]

    def mark_cancelled(self, place: places.Place) -> None:
        """Have a job stopped by its wrapper."""
        with contextlib.suppress(OSError):  # without a folder nothing of it is running
            (self.path / "cancel" / place.mark).touch(mode=_FILE_MODE)

    def mark_ended(self, place: places.Place) -> None:
        """Say in the place of its wrapper that a job has ended: it was barred before it began."""
        with contextlib.suppress(OSError):
            (self.path / "ended" / place.mark).touch(mode=_FILE_MODE)

    def is_cancelled(self, place: places.Place) -> bool:
        """Whether a job is to be stopped by its wrapper."""
        return (self.path / "cancel" / place.mark).exists()

    def alive_seconds_ago(self, index: int) -> float | None:
        """When the wrapper of a task showed itself last; None when it never did."""
        try:
            touched_at = (self.path / "now" / str(index)).stat().st_mtime
        except OSError:
            return None
        return max(0.0, time.time() - touched_at)

    def remove(self) -> None:
        """Remove it; what cannot be removed stays."""
        shutil.rmtree(self.path, ignore_errors=True)


def find_place(
    attempt_folder: pathlib.Path, name: str, *, arrays_dir: pathlib.Path, prefix: str
) -> places.Place | None:
    """Return where an attempt was placed; None when nothing tells, or its array says otherwise.

    What a method wrote there would have it take the place of another. Raises OSError.
    """
    place = places.read(attempt_folder, name, prefix=prefix)
    if place is None or not ArrayFolder(arrays_dir, place.array).holds(place, name):
        return None
    return place


def problem(launch: port.Launch, environment: Mapping[str, str]) -> str | None:
    """Why a launch cannot be written down for the wrapper; None when it can."""
    try:
        tasks_file.check(_task_job(launch, environment))
        launch.parameters_json.encode()
    except ValueError as error:
        return str(error)
    return None


def _is_in_the_way(error: OSError, folder: pathlib.Path) -> bool:
    """Whether this is about the attempt's own folder, and not about the disk or those above."""
    return isinstance(error, _IN_THE_WAY) or (
        isinstance(error, PermissionError) and os.path.lexists(folder)
    )


def _make_attempt_folder(launch: port.Launch, place: places.Place) -> None:
    folder = launch.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    # Thousands at a time: paths as objects take twice as long.
    _make_private_folder(f"{folder}/workspace")
    _make_private_folder(f"{folder}/workspace/tmp")
    _write(f"{folder}/params.json", launch.parameters_json)
    places.write(folder, contract.name_of(launch.key), place)


def _make_private_folder(path: str) -> None:
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102 - thousands at a time
    except FileExistsError:
        if not os.path.isdir(path):  # noqa: PTH112 - as above
            raise


def _task_job(launch: port.Launch, environment: Mapping[str, str]) -> tasks_file.TaskJob:
    process = contract.process_of(launch, environment)
    return tasks_file.TaskJob(
        folder=str(launch.folder.absolute()),
        name=contract.name_of(launch.key),
        limit_seconds=launch.timeout_seconds,
        memory_bytes=launch.resources.memory_bytes,
        not_found=json.dumps(f"command not found: {launch.command[0]}"),
        cwd=process.cwd,
        env=process.env,
        argv=process.argv,
    )


def _write(path: str | pathlib.Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
    with open(descriptor, "w", errors="surrogateescape") as file:  # noqa: PTH123 - by descriptor
        file.write(text)
