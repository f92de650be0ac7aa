"""What lies on disk for attempts: folders, and the inputs and methods of those that are to run."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Sequence

from dshpc_server import disk, errors
from dshpc_server.checking import contents, looks
from dshpc_server.checking.findings import Finding
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.files import stored
from dshpc_server.methods import records
from dshpc_server.store.inspection import ActiveJob, Inspection, Rule

_TOGETHER = 200
_LEVELS = 3
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

    rules = looks.by_name(INPUT, VERSION, FOLDER, looks.SILENT)

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
        inputs = {file_hash for attempt in active for file_hash in _inputs(attempt)}
        there, unknown = contents.looked_for(self._stored, inputs)
        absent = inputs - there - unknown
        held = self._store.find_outputs(absent) if absent else set()
        return [
            (attempt.key.job_id, Finding(rule=rule, which=_which(attempt.key)))
            for attempt in active
            for rule in self._broken(attempt, absent - held, unknown)
        ]

    def _broken(self, attempt: ActiveJob, gone: set[str], unknown: set[str]) -> Iterator[Rule]:
        inputs = _inputs(attempt)
        is_silent = not unknown.isdisjoint(inputs)
        if not gone.isdisjoint(inputs):
            yield INPUT
        places = [(VERSION, self._versions.file(attempt.method_name, attempt.function_hash))]
        if attempt.status in _RUNS:
            places.append((FOLDER, self._attempts_dir / path(attempt.key)))
        for rule, place in places:
            try:
                if disk.status(place) is None:
                    yield rule
            except errors.NoAnswerError:
                is_silent = True
        if is_silent:
            yield looks.SILENT


class AttemptFolders:
    """Every folder is that of an attempt."""

    rules = looks.by_name(ATTEMPT, looks.SILENT)

    def __init__(self, store: Inspection, attempts_dir: pathlib.Path) -> None:
        self._store = store
        self._attempts_dir = attempts_dir

    def pages(self) -> Iterator[Sequence[str]]:
        """Name them by their path; see `looks.Look`."""
        for first in _names(self._attempts_dir):
            page: list[str] = []
            for job_id in _names(self._attempts_dir / first):
                page += self._attempts(f"{first}/{job_id}")
                if len(page) >= _TOGETHER:
                    yield page
                    page = []
            yield page

    def _attempts(self, folder: str) -> list[str]:
        """List one job's; if that cannot be done name the folder itself."""
        try:
            return [f"{folder}/{number}" for number in _names(self._attempts_dir / folder)]
        except OSError:
            return [folder]

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        keys = {name: name.split("/")[1] for name in names}
        known = {path(key) for key in self._store.attempts(set(keys.values()))}
        return [
            (name, Finding(rule=rule, which=(("path", f"attempts/{name}"),)))
            for name in names
            if name not in known and (rule := self._rule(name)) is not None
        ]

    def _rule(self, name: str) -> Rule | None:
        """What is wrong with what is at this path, which is not known; None: it is gone."""
        try:
            if name.count("/") < _LEVELS - 1:
                _names(self._attempts_dir / name)
                return None
            return ATTEMPT if disk.status(self._attempts_dir / name) is not None else None
        except (OSError, errors.NoAnswerError):
            return looks.SILENT


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
    with contextlib.suppress(*disk.ABSENT):
        return sorted(entry.name for entry in folder.iterdir())
    return []
