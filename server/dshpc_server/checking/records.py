"""What the store holds, by itself: its own rules, identities, results, statistics."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from dshpc_server.checking import looks
from dshpc_server.checking.findings import Finding
from dshpc_server.domain import identity, statistics
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.store.inspection import (
    Inspection,
    Rule,
    StoredBatch,
    StoredJob,
    StoredResult,
    UnreadableError,
)

# A job may have many attempts, with results of up to 1 MiB each.
_JOBS_TOGETHER = 20
_BATCHES_TOGETHER = 100


LEGIBLE = Rule(
    name="store_is_readable", broken="the database is damaged; this could not be looked at"
)


class StoreRules:
    """The rules that the store can look after itself; what is gone through are their names."""

    def __init__(self, store: Inspection) -> None:
        self._store = store
        self.rules = {**store.rules, LEGIBLE.name: LEGIBLE}

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`."""
        for name in self._store.rules:
            yield [name]

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        return [(name, finding) for name in names for finding in self._broken(name)]

    def _broken(self, name: str) -> list[Finding]:
        try:
            breaches = self._store.breaches(name)
        except UnreadableError:
            return [unreadable(f"rule {name}")]
        return [Finding(rule=self.rules[name], which=which) for which in breaches]


def unreadable(part: str) -> Finding:
    """Say that some part of the store could not be looked at, or not to its end."""
    return Finding(rule=LEGIBLE, which=(("part", part),))


IDENTITY = Rule(name="job_id_is_its_hash", broken="its job_id is not the hash of what it runs")
READABLE = Rule(name="result_is_readable", broken="what is kept of its end cannot be read")
OWN = Rule(name="result_is_its_own", broken="what is kept of its end speaks of something else")
OUTPUT = Rule(
    name="output_is_its_hash", broken="the output in its result is not the one that is named there"
)


class Told(Protocol):
    """What a result says, as far as it is checked."""

    @property
    def key(self) -> AttemptKey:
        """Of which attempt it is."""
        ...

    @property
    def status(self) -> JobStatus | None:
        """How that ended."""
        ...

    @property
    def output_hash(self) -> str:
        """Empty when there is no output."""
        ...

    @property
    def output_size_bytes(self) -> int:
        """How long the output is."""
        ...

    @property
    def output(self) -> bytes | None:
        """The whole output; None when it is not in there."""
        ...


class Jobs:
    """Identities and results."""

    rules = looks.by_name(IDENTITY, READABLE, OWN, OUTPUT)

    def __init__(self, store: Inspection, read: Callable[[bytes], Told]) -> None:
        """`read` raises ValueError for what is no result."""
        self._store = store
        self._read = read

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`."""
        return looks.pages(self._store.job_ids, _JOBS_TOGETHER)

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        found = [
            (job.job_id, Finding(rule=IDENTITY, which=(("job", job.job_id),)))
            for job in self._store.jobs(names)
            if not _has_its_hash(job)
        ]
        for result in self._store.results(names):
            rule = self._broken(result)
            if rule is not None:
                job_id, number = result.key.job_id, result.key.number
                which = (("job", job_id), ("attempt", number))
                found.append((job_id, Finding(rule=rule, which=which)))
        return found

    def _broken(self, result: StoredResult) -> Rule | None:
        try:
            told = self._read(result.result)
        except ValueError:
            return READABLE
        named = (told.key, told.status, told.output_hash, told.output_size_bytes)
        stored = (result.key, result.status, result.output_hash, result.output_size_bytes)
        if named != stored:
            return OWN
        if not result.output_is_inline:
            return None if told.output is None else OUTPUT
        is_right = told.output is not None and (
            len(told.output) == result.output_size_bytes
            and hashlib.sha256(told.output).hexdigest() == result.output_hash
        )
        return None if is_right else OUTPUT


def _has_its_hash(job: StoredJob) -> bool:
    try:
        inputs = json.loads(job.inputs)
    except ValueError:
        return False
    if not isinstance(inputs, dict):
        return False
    computed = identity.job_id(
        function_hash=job.function_hash, inputs=inputs, parameters_json=job.parameters_json
    )
    return computed == job.job_id


ADD_UP = Rule(
    name="statistics_add_up", broken="its rows cannot be counted by outcome and by status"
)
TALLY = Rule(
    name="batch_tally_is_right",
    broken="how many of its rows ended in which way is not what was kept of that",
)


class Batches:
    """The statistics of every batch, over all its rows."""

    rules: Mapping[str, Rule] = looks.by_name(ADD_UP, TALLY)

    def __init__(self, store: Inspection) -> None:
        self._store = store

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`."""
        return looks.pages(self._store.batch_ids, _BATCHES_TOGETHER)

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        return [
            (batch.batch_id, Finding(rule=rule, which=(("batch", batch.batch_id),)))
            for batch in self._store.batches(names)
            for rule, holds in ((ADD_UP, _adds_up(batch)), (TALLY, _has_its_tally(batch)))
            if not holds
        ]


def _adds_up(batch: StoredBatch) -> bool:
    tally = statistics.Tally()
    try:
        for outcome, status, count in batch.rows:
            told = None if status is None else JobStatus(status)
            tally.add_many([(Outcome(outcome), told)] * count)
    except ValueError:  # a word that there is none of, or two that do not go together
        return False
    return _holds(tally.snapshot(), sum(count for *_, count in batch.rows))


def _has_its_tally(batch: StoredBatch) -> bool:
    """Whether what is kept of a batch that ended is how its rows are: those can change no more."""
    return batch.kept_rows is None or sorted(batch.kept_rows, key=str) == sorted(
        batch.rows, key=str
    )


def _holds(counted: statistics.Statistics, rows: int) -> bool:
    """Whether the identities of the contract hold."""
    c = counted
    by_status = (
        c.completed_jobs,
        c.in_progress_jobs,
        c.failed_jobs,
        c.cancelled_jobs,
        c.skipped_jobs,
        c.not_found_jobs,
        c.failed_submissions,
    )
    by_outcome = (
        c.found_completed_jobs,
        c.found_in_progress_jobs,
        c.submitted_jobs,
        c.resubmitted_jobs,
        c.kept_failures,
        c.not_found_jobs,
        c.withheld_jobs,
        c.undecided_jobs,
        c.failed_submissions,
    )
    return c.total_jobs == rows == sum(by_status) == sum(by_outcome)
