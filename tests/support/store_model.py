"""What the store's port promises, as plain lists: one of attempts for each job, and the queue.

It knows nothing of tables or of `domain.lookup.decide`; the store is compared with it.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from dshpc_server.domain import job, lifecycle
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import CachePolicy, Policy, ResubmitPolicy
from dshpc_server.store.records import Ending
from support import store_values as v

_ANEW = (CachePolicy.REFRESH, CachePolicy.BYPASS)


@dataclasses.dataclass
class Run:
    """One attempt."""

    number: int
    status: JobStatus
    revision: int
    is_bypass: bool
    result: bytes | None = None
    output_hash: str = ""
    is_inline: bool = False
    exit_code: int | None = None
    cancel_reason: str | None = None

    @property
    def is_active(self) -> bool:
        return self.status not in job.TERMINAL


@dataclasses.dataclass
class Job:
    """One job: its attempts, which of them answers, and from which on failures count."""

    runs: list[Run] = dataclasses.field(default_factory=list)
    answer: Run | None = None
    counted_from: int = 1

    def failures(self) -> int:
        counted = self.runs[self.counted_from - 1 :]
        return sum(run.status in job.FAILED and not run.is_bypass for run in counted)

    def is_kept(self, policy: Policy) -> bool:
        """Whether the failure that answers stays the answer."""
        assert self.answer is not None
        if policy.cache is not CachePolicy.USE:
            return policy.cache is CachePolicy.ONLY
        permanent = policy.resubmit is ResubmitPolicy.RETRIABLE and self.answer.exit_code == 78
        too_often = self.answer.status in job.FAILED and self.failures() >= policy.max_attempts
        return policy.resubmit is ResubmitPolicy.NEVER or permanent or too_often


class Place(NamedTuple):
    """Where an attempt is in the queue; the least is the first."""

    stands_back: int
    turn: int
    batch: int
    row: int


class Model:
    """What the store is to hold."""

    def __init__(self, names: str) -> None:
        self.jobs = {name: Job() for name in names}
        self.waiting: dict[str, Place] = {}

    def accept(self, name: str, policy: Policy, lost: set[str]) -> tuple[Outcome, Run | None]:
        """What the next row that names this job is told."""
        found = self.jobs[name]
        answer = found.answer
        status = None if answer is None else answer.status
        if answer is not None and answer.is_active:
            return Outcome.FOUND_IN_PROGRESS, answer
        failed = status is not None and status is not JobStatus.COMPLETED
        if failed and found.is_kept(policy):
            return Outcome.FAILURE_KEPT, answer
        holds = (
            answer is not None
            and status is JobStatus.COMPLETED
            and (answer.is_inline or answer.output_hash not in lost)
        )
        if holds and policy.cache not in _ANEW:
            return Outcome.FOUND_COMPLETED, answer
        if policy.cache is CachePolicy.ONLY:
            return Outcome.NOT_FOUND, None
        outcome = self._run(name, policy, failed=failed)
        run = found.runs[-1]
        if policy.cache is not CachePolicy.BYPASS and not holds:
            found.answer = run
        return outcome, run

    def _run(self, name: str, policy: Policy, *, failed: bool) -> Outcome:
        """Wait for the attempt in progress, or make one."""
        found = self.jobs[name]
        before = found.runs[-1] if found.runs else None
        is_refresh = policy.cache is CachePolicy.REFRESH
        if before is not None and before.is_active:
            if is_refresh and before.is_bypass:
                found.counted_from = before.number
            before.is_bypass = before.is_bypass and policy.cache is CachePolicy.BYPASS
            return Outcome.FOUND_IN_PROGRESS
        run = Run(
            number=len(found.runs) + 1,
            status=JobStatus.PENDING,
            revision=before.revision + 1 if before else 1,
            is_bypass=policy.cache is CachePolicy.BYPASS,
        )
        found.runs.append(run)
        if is_refresh:
            found.counted_from = run.number
        return Outcome.RESUBMITTED if failed else Outcome.SUBMITTED

    def place(self, batch: int, priority: int, rows: Sequence[str | None]) -> None:
        """Let what these rows wait for have its place in the queue; None for those that do not."""
        of_class = [place.turn for place in self.waiting.values() if place.stands_back == -priority]
        turn = min(of_class) + 1 if of_class else batch * 1_000_000
        for index, name in enumerate(rows):
            if name is None or name in rows[:index]:
                continue
            place = self.waiting.get(name)
            if place is None:
                self.waiting[name] = Place(-priority, turn, batch, index)
            elif place.stands_back > -priority or (
                place.stands_back == -priority and place.turn > turn
            ):
                self.waiting[name] = place._replace(stands_back=-priority, turn=turn)
            elif place.stands_back < -priority:
                continue
            turn += 2

    def claim(self, limit: int) -> list[tuple[str, Run]]:
        """Take the first of the queue."""
        first = sorted(self.waiting, key=lambda name: self.waiting[name])[:limit]
        taken = [(name, self.jobs[name].runs[-1]) for name in first]
        for name, _ in taken:
            self._move(name, JobStatus.CONFIGURING)
        return taken

    def report(self, name: str, number: int, event: Event, ending: Ending | None) -> bool:
        """Whether a report counts; then what it says is so."""
        found = self.jobs[name]
        if number != len(found.runs) or event is Event.CLAIMED:
            return False
        run = found.runs[-1]
        target = lifecycle.target(run.status, event)
        if target is None:
            return False
        self._move(name, target, ending)
        if target is JobStatus.COMPLETED and not run.is_bypass:
            found.answer = run
        return True

    def cancel(self, name: str, reason: str, ending: Ending) -> bool:
        """Whether that moves it; else it is marked, if it is in progress."""
        runs = self.jobs[name].runs
        if not runs or not runs[-1].is_active:
            return False
        runs[-1].cancel_reason = runs[-1].cancel_reason or reason
        if runs[-1].status is not JobStatus.PENDING:
            return False
        self._move(name, JobStatus.CANCELLED, ending)
        return True

    def delete_output(self, output_hash: str) -> list[tuple[str, Run]]:
        """Take it out; tell whose result is another now."""
        stripped = []
        for name, found in self.jobs.items():
            for run in (run for run in found.runs if run.output_hash == output_hash):
                if run.is_inline and run.result is not None:
                    run.result, run.is_inline = v.without_output(run.result), False
                    stripped.append((name, run))
                if found.answer is run:
                    found.answer = None
        return stripped

    def kept_outputs(self) -> set[str]:
        """Those in the content store that look-ups answer with."""
        answers = [found.answer for found in self.jobs.values() if found.answer]
        return {run.output_hash for run in answers if run.output_hash and not run.is_inline}

    def _move(self, name: str, target: JobStatus, ending: Ending | None = None) -> None:
        run = self.jobs[name].runs[-1]
        if run.status is JobStatus.PENDING:
            del self.waiting[name]
        run.status, run.revision = target, run.revision + 1
        if ending is not None:
            run.result, run.exit_code = ending.result, ending.exit_code
            run.output_hash, run.is_inline = ending.output_hash, ending.output_is_inline
