"""What lies on disk for attempts: folders, and the inputs and methods of those that are to run."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Sequence

from dshpc_server.checking import looks
from dshpc_server.checking.findings import Finding
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.files import stored
from dshpc_server.methods import records
from dshpc_server.store.inspection import ActiveJob, Inspection, Rule

_TOGETHER = 200
_RUNS = frozenset({JobStatus.RUNNING, JobStatus.SUSPENDED, JobStatus.COMPLETING})

INPUT = Rule(name="input_is_stored", broken="it has not ended, and an input of it is gone")
VERSION = Rule(
    name="version_is_known", broken="it has not ended, and its method's version is not there"
)
FOLDER = Rule(
    name="folder_is_there", broken="it runs, and its folder is gone: the next server ends it"
)
ATTEMPT = Rule(
    name="folder_is_of_an_attempt", broken="it is the folder of no known attempt", is_note=True
)


def path(key: AttemptKey) -> str:
    """Where an attempt's folder is, below that of all attempts."""
    return f"{key.job_id[:2]}/{key.job_id}/{key.number}"


class ActiveAttempts:
    """What has not ended has all that it needs."""

    rules = looks.by_name(INPUT, VERSION, FOLDER)

    def __init__(self, store: Inspection, data_dir: pathlib.Path) -> None:
        self._store = store
        self._stored = stored.Stored(data_dir / "files")
        self._versions = records.Records(data_dir / "methods" / "versions")
        self._attempts_dir = data_dir / "attempts"

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`."""
        return looks.pages(self._store.active_ids, _TOGETHER)

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        active = self._store.active(names)
        absent = {
            file_hash
            for attempt in active
            for file_hash in _inputs(attempt)
            if not self._stored.has(file_hash)
        }
        held = self._store.find_outputs(absent) if absent else set()
        return [
            (attempt.key.job_id, Finding(rule=rule, which=_which(attempt.key)))
            for attempt in active
            for rule in self._broken(attempt, absent - held)
        ]

    def _broken(self, attempt: ActiveJob, gone: set[str]) -> Iterator[Rule]:
        if not gone.isdisjoint(_inputs(attempt)):
            yield INPUT
        if not self._versions.file(attempt.method_name, attempt.function_hash).is_file():
            yield VERSION
        if attempt.status in _RUNS and not (self._attempts_dir / path(attempt.key)).is_dir():
            yield FOLDER


class AttemptFolders:
    """Every folder is that of an attempt."""

    rules = looks.by_name(ATTEMPT)

    def __init__(self, store: Inspection, attempts_dir: pathlib.Path) -> None:
        self._store = store
        self._attempts_dir = attempts_dir

    def pages(self) -> Iterator[Sequence[str]]:
        """Name them by their path; see `looks.Look`."""
        for first in _names(self._attempts_dir):
            page: list[str] = []
            for job_id in _names(self._attempts_dir / first):
                numbers = _names(self._attempts_dir / first / job_id)
                page += [f"{first}/{job_id}/{number}" for number in numbers]
                if len(page) >= _TOGETHER:
                    yield page
                    page = []
            yield page

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        keys = {name: name.split("/")[1] for name in names}
        known = {path(key) for key in self._store.attempts(set(keys.values()))}
        return [
            (name, Finding(rule=ATTEMPT, which=(("path", f"attempts/{name}"),)))
            for name in names
            if name not in known and os.path.lexists(self._attempts_dir / name)
        ]


def _inputs(attempt: ActiveJob) -> list[str]:
    """What is no JSON object is told by another rule: such a job has not its hash."""
    try:
        inputs = json.loads(attempt.inputs)
    except ValueError:
        return []
    return list(map(str, inputs.values())) if isinstance(inputs, dict) else []


def _which(key: AttemptKey) -> tuple[tuple[str, str | int], ...]:
    return ("job", key.job_id), ("attempt", key.number)


def _names(folder: pathlib.Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(entry.name for entry in folder.iterdir())
    return []
