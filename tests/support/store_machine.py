"""A store driven at random, with a model beside it and the store's invariants after every step.

The model is told of nothing but the port's promises: it keeps one list of attempts per job. After
every step the database must hold exactly what the model holds, what the commits told as changes
must add up to the same, and what was published once must never be different again - but for an
output that was deleted.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeVar

from hypothesis import stateful
from hypothesis import strategies as st

from dshpc_server import errors
from dshpc_server.domain import job, queue
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import CachePolicy, Policy, ResubmitPolicy
from dshpc_server.store.port import Writer
from dshpc_server.store.records import Attempt, Ending, NewBatch, Row
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.store.sql.tables import WAITING
from support import store_look, store_servers
from support import store_values as v
from support.store_model import Model

T = TypeVar("T")

NAMES = "ab"
MAX_ATTEMPTS = 2
OUTPUTS = ("p", "q")
PRIORITIES = (0, 5, 0, -5)
NO_AGEING = queue.Ageing(seconds=math.inf)
_names = st.sampled_from(NAMES)
# What most ask for comes most often: a job that fails again and again is one of many.
_policies = st.builds(
    Policy,
    cache=st.sampled_from((CachePolicy.USE, CachePolicy.USE, *CachePolicy)),
    resubmit=st.sampled_from((ResubmitPolicy.ALWAYS, ResubmitPolicy.ALWAYS, *ResubmitPolicy)),
    max_attempts=st.just(MAX_ATTEMPTS),
)
_asked = st.tuples(_names, _policies)
_usual_events = st.sampled_from((Event.STARTED, Event.SUCCEEDED, Event.EXITED_NONZERO))


class StoreMachine(stateful.RuleBasedStateMachine):
    """Accepts, claims, reports (late, repeated, wrong ones too), cancels, deletes, restarts."""

    def __init__(self, first: SqlStore) -> None:
        """`first` is emptied before; the connections are its own throughout."""
        super().__init__()
        store_servers.empty(first)
        self._store = store_servers.again(first)
        self._model = Model(NAMES)
        self._rows: dict[str, list[tuple[Outcome, AttemptKey | None]]] = {}
        self._told: dict[AttemptKey, Attempt] = {}
        self._ended: dict[AttemptKey, store_look.Stored] = {}
        self._batches = 0
        self._reports = 0

    @stateful.rule(asked=st.lists(_asked, max_size=5), lose=st.booleans())
    def accept(self, asked: list[tuple[str, Policy]], *, lose: bool) -> None:
        lost = self._model.kept_outputs() if lose else set()
        batch = self._next_batch(asked, lost)
        previewed = self._store.preview(batch)
        rows = self._write(lambda writer: writer.accept(batch))
        assert v.unstamped(rows) == v.unstamped(previewed), "a preview tells what accepting would"
        expected = []
        for name, policy in asked:
            outcome, run = self._model.accept(name, policy, lost)
            expected.append((outcome, run and _key(name, run.number)))
        self._model.place(
            self._batches, batch.priority, [_waits(*each) for each in zip(asked, rows, strict=True)]
        )
        self._rows[batch.batch_id] = [_told(row) for row in rows]
        assert self._rows[batch.batch_id] == expected

    @stateful.rule(
        asked=_asked,
        lose=st.booleans(),
        event=st.sampled_from((Event.SUCCEEDED, Event.EXITED_NONZERO, Event.LOST)),
    )
    def run_to_an_end(self, asked: tuple[str, Policy], event: Event, *, lose: bool) -> None:
        """What else takes three steps, seldom in this order."""
        self.accept(asked=[asked], lose=lose)
        self.claim(limit=9)
        self.report_of_the_newest(name=asked[0], events=[event])

    @stateful.rule(asked=st.lists(_asked, min_size=1, max_size=5))
    def fail_after_accepting_and_claiming(self, asked: list[tuple[str, Policy]]) -> None:
        batch = self._next_batch(asked)

        def work(writer: Writer) -> None:
            writer.accept(batch)
            writer.claim(v.take, 2)
            writer.cancel([v.sha(name) for name in NAMES], "why", lambda _: v.an_ending())
            raise LookupError

        commit = self._store.write([work])
        assert [type(answer) for answer in commit.answers] == [LookupError]
        assert list(commit.changes) == []

    @stateful.rule(limit=st.integers(0, 3))
    def claim(self, limit: int) -> None:
        claims = self._write(lambda writer: writer.claim(v.take, limit, NO_AGEING))
        expected = self._model.claim(limit)
        assert [each.key for each in claims.taken] == [
            _key(name, run.number) for name, run in expected
        ]

    @stateful.rule(
        reports=st.lists(
            st.tuples(_names, st.integers(1, 3), st.sampled_from(Event)), min_size=1, max_size=4
        )
    )
    def report(self, reports: list[tuple[str, int, Event]]) -> None:
        self._report(reports)

    @stateful.rule(
        asked=_asked, number=st.integers(1, 3), events=st.lists(_usual_events, min_size=2)
    )
    def report_what_is_late(
        self, asked: tuple[str, Policy], number: int, events: list[Event]
    ) -> None:
        """Of another attempt than what runs, and of one that has ended."""
        self.accept(asked=[asked], lose=False)
        self.claim(limit=9)
        self._report([(asked[0], number, events[0])])
        self.report_of_the_newest(name=asked[0], events=events)

    @stateful.rule(name=_names, events=st.lists(_usual_events))
    def report_of_the_newest(self, name: str, events: list[Event]) -> None:
        number = max(1, len(self._model.jobs[name].runs))
        self._report([(name, number, event) for event in events])

    @stateful.rule(names=st.lists(_names, max_size=3, unique=True))
    def cancel_twice(self, names: list[str]) -> None:
        self._cancel(names)
        self._cancel(names)

    @stateful.rule(names=st.lists(_names, max_size=3, unique=True))
    def cancel(self, names: list[str]) -> None:
        self._cancel(names)

    def _cancel(self, names: list[str]) -> None:
        self._reports += 1
        reason, ending = str(self._reports), v.an_ending(f"{self._reports}")
        job_ids = [v.sha(name) for name in names]
        told = self._write(lambda writer: writer.cancel(job_ids, reason, lambda _: ending))
        for name in names:
            self._model.cancel(name, reason, ending)
        known = [v.sha(name) for name in names if self._model.jobs[name].runs]
        newest = self._store.find_attempts(job_ids)
        assert list(told) == [newest[job_id] for job_id in known]

    @stateful.rule(output=st.sampled_from(OUTPUTS))
    def delete_an_output(self, output: str) -> None:
        v.delete_file(self._store, v.sha(output))
        for name, run in self._model.delete_output(v.sha(output)):
            key = _key(name, run.number)
            self._told[key] = dataclasses.replace(self._told[key], result=run.result)
            self._ended[key] = (run.status, run.revision, run.result)
        assert self._store.find_file(v.sha(output)) is None

    @stateful.rule(name=_names)
    def delete_an_input(self, name: str) -> None:
        file_hash = v.spec(name).inputs["input"]
        is_used = any(run.is_active for run in self._model.jobs[name].runs)
        try:
            assert not v.delete_file(self._store, file_hash)
        except errors.InUseError:
            assert is_used
        else:
            assert not is_used, "what is needed stays"

    @stateful.rule()
    def restart(self) -> None:
        self._store = store_servers.again(self._store)
        taken = self._write(lambda writer: writer.take_over([]))
        owned = [each.claim.key for each in self._store.find_active()]
        assert [each.claim.key for each in taken] == owned

    @stateful.invariant()
    def invariants_hold(self) -> None:
        stored = store_look.attempts(self._store)
        assert stored == {
            _key(name, run.number): (run.status, run.revision, run.result)
            for name, each in self._model.jobs.items()
            for run in each.runs
        }, "the store is as the model"
        told = {key: (a.status, a.revision, a.result) for key, a in self._told.items()}
        assert told == stored, "the changes told add up to what is stored"
        active = [key.job_id for key, (status, *_) in stored.items() if _active(status)]
        assert len(active) == len(set(active)), "at most one attempt of a job is active"
        for key, ended in self._ended.items():
            assert stored[key] == ended, "what ended never changes"
        self._ended = {key: s for key, s in stored.items() if not _active(s[0])}

    @stateful.invariant()
    def answers_are_those_of_the_model(self) -> None:
        for name, each in self._model.jobs.items():
            record = self._store.find_job(v.sha(name))
            assert (record is None) == (not each.runs)
            if record is None:
                continue
            assert record.newest.attempt.key.number == len(each.runs), "the newest is the last"
            reasons = [attempt.cancel_reason for attempt in record.attempts]
            assert reasons == [run.cancel_reason for run in each.runs]
            answering, failures, is_bypass = store_look.answering(self._store, v.sha(name))
            assert answering == (each.answer and each.answer.number)
            assert not is_bypass, "what was run for one alone answers nobody"
            assert failures <= MAX_ATTEMPTS, "what fails is run again a bounded number of times"
        job_ids = [v.sha(name) for name in NAMES]
        assert self._store.find_kept_outputs(job_ids) == self._model.kept_outputs()

    @stateful.rule()
    def rows_stay_with_their_attempts(self) -> None:
        for batch_id, expected in self._rows.items():
            rows = self._store.find_rows(batch_id, first_index=0, limit=99)
            assert [_told(row) for row in rows] == expected

    def _next_batch(
        self, asked: list[tuple[str, Policy]], lost: set[str] | None = None
    ) -> NewBatch:
        self._batches += 1
        rows = [v.row(index, name, policy=policy) for index, (name, policy) in enumerate(asked)]
        at = v.later(self._batches)
        priority = PRIORITIES[self._batches % len(PRIORITIES)]
        return v.batch(
            f"batch {self._batches}", rows=rows, at=at, lost_outputs=lost or (), priority=priority
        )

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
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _report(self, reports: list[tuple[str, int, Event]]) -> None:
        self._reports += 1
        endings = [self._ending(event) for _, _, event in reports]
        sent = [
            v.report(name, event, number=number, ending=ending)
            for (name, number, event), ending in zip(reports, endings, strict=True)
        ]
        changes = self._write(lambda writer: writer.record(sent))
        moved = [
            self._model.report(*report, ending)
            for report, ending in zip(reports, endings, strict=True)
        ]
        assert len(changes) == sum(moved)

    def _ending(self, event: Event) -> Ending | None:
        """An end that differs from report to report: output, where that lies, exit code."""
        if event not in v.ENDING_EVENTS:
            return None
        kind = self._reports
        return v.an_ending(
            str(kind),
            output=OUTPUTS[kind % 2] if event is Event.SUCCEEDED else "",
            is_inline=kind % 3 == 0,
            exit_code=78 if event is Event.EXITED_NONZERO and kind % 4 == 0 else 0,
        )


def _key(name: str, number: int) -> AttemptKey:
    return AttemptKey(job_id=v.sha(name), number=number)


def _told(row: Row) -> tuple[Outcome, AttemptKey | None]:
    return row.outcome, None if row.attempt is None else row.attempt.key


def _waits(asked: tuple[str, Policy], row: Row) -> str | None:
    """What the row waits for in the queue."""
    is_queued = row.attempt is not None and row.attempt.status is JobStatus.PENDING
    return asked[0] if is_queued and row.outcome in WAITING else None


def _active(status: JobStatus) -> bool:
    return status not in job.TERMINAL
