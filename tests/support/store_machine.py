"""A store driven at random, with a model beside it and the store's invariants after every step.

The model is told of nothing but the port's promises: it keeps one list of attempts per job. After
every step the database must hold exactly what the model holds, what the commits told as changes
must add up to the same, and what was published once must never be different again.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import sqlalchemy
from hypothesis import stateful
from hypothesis import strategies as st

from dshpc_server.domain import job, lifecycle
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Attempt, NewBatch, Row, Writer
from dshpc_server.store.sql import tables
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v

T = TypeVar("T")
Stored: TypeAlias = tuple[JobStatus, int, bytes | None]

NAMES = "ab"
_names = st.sampled_from(NAMES)


@dataclasses.dataclass
class Run:
    """What the model knows of an attempt."""

    status: JobStatus
    revision: int
    result: bytes | None = None


class StoreMachine(stateful.RuleBasedStateMachine):
    """Accepts, claims, reports (late, repeated, wrong ones too), failing works, restarts."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._path = pathlib.Path(self._folder.name) / "store.db"
        self._store = SqlStore.open(self._path)
        self._runs: dict[str, list[Run]] = {name: [] for name in NAMES}
        self._waiting: list[str] = []
        self._rows: dict[str, list[tuple[Outcome, AttemptKey]]] = {}
        self._told: dict[AttemptKey, Attempt] = {}
        self._ended: dict[AttemptKey, Stored] = {}
        self._batches = 0
        self._reports = 0

    def teardown(self) -> None:
        self._store.close()
        self._folder.cleanup()

    @stateful.rule(names=st.lists(_names, max_size=5))
    def accept(self, names: list[str]) -> None:
        batch = self._next_batch(names)
        rows = self._write(lambda writer: writer.accept(batch))
        outcomes = [self._accepted(name) for name in names]
        assert [row.outcome for row in rows] == outcomes
        self._rows[batch.batch_id] = [(row.outcome, _key(row)) for row in rows]

    @stateful.rule(names=st.lists(_names, min_size=1, max_size=5))
    def fail_after_accepting_and_claiming(self, names: list[str]) -> None:
        batch = self._next_batch(names)

        def work(writer: Writer) -> None:
            writer.accept(batch)
            writer.claim(lambda _: True, 2)
            raise LookupError

        commit = self._store.write([work])
        assert [type(answer) for answer in commit.answers] == [LookupError]
        assert list(commit.changes) == []

    @stateful.rule(limit=st.integers(0, 3))
    def claim(self, limit: int) -> None:
        claims = self._write(lambda writer: writer.claim(lambda _: True, limit))
        expected, self._waiting = self._waiting[:limit], self._waiting[limit:]
        assert [claim.key for claim in claims] == [self._newest_key(name) for name in expected]
        for name in expected:
            self._move(name, JobStatus.CONFIGURING)

    @stateful.rule(
        reports=st.lists(
            st.tuples(_names, st.integers(1, 3), st.sampled_from(Event)), min_size=1, max_size=4
        )
    )
    def report(self, reports: list[tuple[str, int, Event]]) -> None:
        self._report(reports)

    @stateful.rule(
        name=_names,
        events=st.lists(st.sampled_from((Event.STARTED, Event.SUCCEEDED, Event.EXITED_NONZERO))),
    )
    def report_of_the_newest(self, name: str, events: list[Event]) -> None:
        self._report([(name, max(1, len(self._runs[name])), event) for event in events])

    @stateful.rule()
    def restart(self) -> None:
        self._store.close()
        self._store = SqlStore.open(self._path)

    @stateful.invariant()
    def invariants_hold(self) -> None:
        stored = self._stored()
        assert stored == {
            AttemptKey(job_id=v.sha(name), number=number): (run.status, run.revision, run.result)
            for name, runs in self._runs.items()
            for number, run in enumerate(runs, start=1)
        }, "the store is as the model"
        told = {key: (a.status, a.revision, a.result) for key, a in self._told.items()}
        assert told == stored, "the changes told add up to what is stored"
        active = [key.job_id for key, (status, *_) in stored.items() if _active(status)]
        assert len(active) == len(set(active)), "at most one attempt of a job is active"
        for key, ended in self._ended.items():
            assert stored[key] == ended, "what ended never changes"
        self._ended = {key: s for key, s in stored.items() if not _active(s[0])}
        newest = self._store.find_attempts([v.sha(name) for name in NAMES])
        assert {attempt.key for attempt in newest.values()} == {
            self._newest_key(name) for name in NAMES if self._runs[name]
        }, "the newest attempt is the last one"

    @stateful.rule()
    def rows_stay_with_their_attempts(self) -> None:
        for batch_id, expected in self._rows.items():
            rows = self._store.find_rows(batch_id, first_index=0, limit=99)
            assert [(row.outcome, _key(row)) for row in rows] == expected

    def _next_batch(self, names: list[str]) -> NewBatch:
        self._batches += 1
        return v.batch(f"batch {self._batches}", *names, at=v.later(self._batches))

    def _write(self, work: Callable[[Writer], T]) -> T:
        commit = self._store.write([work])
        for change in commit.changes:
            before = max(
                (a.revision for key, a in self._told.items() if key.job_id == change.key.job_id),
                default=0,
            )
            assert change.revision == before + 1
            self._told[change.key] = change
        (answer,) = commit.answers
        assert not isinstance(answer, Exception), answer
        return answer

    def _accepted(self, name: str) -> Outcome:
        """What the port promises for the next row that names this job."""
        runs = self._runs[name]
        if runs and runs[-1].status is JobStatus.COMPLETED:
            return Outcome.FOUND_COMPLETED
        if runs and _active(runs[-1].status):
            return Outcome.FOUND_IN_PROGRESS
        revision = runs[-1].revision + 1 if runs else 1
        runs.append(Run(status=JobStatus.PENDING, revision=revision))
        self._waiting.append(name)
        return Outcome.SUBMITTED if len(runs) == 1 else Outcome.RESUBMITTED

    def _report(self, reports: list[tuple[str, int, Event]]) -> None:
        self._reports += 1
        ending = v.an_ending(str(self._reports))
        sent = [
            v.report(
                name, event, number=number, ending=ending if event in v.ENDING_EVENTS else None
            )
            for name, number, event in reports
        ]
        changes = self._write(lambda writer: writer.record(sent))
        moved = 0
        for (name, number, event), each in zip(reports, sent, strict=True):
            runs = self._runs[name]
            if number != len(runs):
                continue
            target = lifecycle.target(runs[-1].status, event)
            if target is not None:
                moved += 1
                self._move(name, target, each.ending.result if each.ending else None)
        assert len(changes) == moved

    def _move(self, name: str, target: JobStatus, result: bytes | None = None) -> None:
        run = self._runs[name][-1]
        if target is not JobStatus.PENDING and name in self._waiting:
            self._waiting.remove(name)
        run.status, run.revision, run.result = target, run.revision + 1, result

    def _newest_key(self, name: str) -> AttemptKey:
        return AttemptKey(job_id=v.sha(name), number=len(self._runs[name]))

    def _stored(self) -> dict[AttemptKey, Stored]:
        columns = tables.attempts.c
        question = sqlalchemy.select(
            columns.job_id, columns.number, columns.status, columns.revision, columns.result
        )
        with self._store._engine.connect() as connection:
            return {
                AttemptKey(job_id=job_id, number=number): (JobStatus(status), revision, result)
                for job_id, number, status, revision, result in connection.execute(question)
            }


def _key(row: Row) -> AttemptKey:
    assert row.attempt is not None
    return row.attempt.key


def _active(status: JobStatus) -> bool:
    return status not in job.TERMINAL
