"""The invariants of a store that several servers use, asked for by hand after every step."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store.sql.store import SqlStore
from support import store_servers_process as process
from support import store_values as v

_ATTEMPTS = """
    SELECT job_id, number, status, revision, chain, is_retried, owner, cancel_reason, result
    FROM attempts ORDER BY job_id, number
"""
_JOBS = """
    SELECT j.job_id, newest_attempt, answering_attempt, a.output_hash
    FROM jobs j LEFT JOIN attempts a ON a.job_id = j.job_id AND a.number = answering_attempt
        AND a.status = 'COMPLETED' AND output_is_inline = 0
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """One attempt as the table has it."""

    job_id: str
    number: int
    status: str
    revision: int
    chain: int
    is_retried: int
    owner: str | None
    cancel_reason: str | None
    result: bytes | None

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(job_id=self.job_id, number=self.number)

    @property
    def is_active(self) -> bool:
        return JobStatus(self.status) in job.IN_PROGRESS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What the tables hold at one moment."""

    attempts: dict[AttemptKey, Stored]
    jobs: dict[str, tuple[int, int | None, str | None]]
    """By id: the newest attempt, the answering one, and what that has in the content store."""
    servers: set[str]
    row_counts: dict[str, int]

    @classmethod
    def at(cls, store: SqlStore) -> "Look":
        with store._engine.connect() as connection:

            def ask(question: str) -> Sequence[Any]:
                return connection.exec_driver_sql(question).all()

            attempts = [Stored(*row) for row in ask(_ATTEMPTS)]
            counts = ask("SELECT batch_id, count(*) FROM batch_rows GROUP BY batch_id")
            return cls(
                attempts={each.key: each for each in attempts},
                jobs={job_id: tuple(others) for job_id, *others in ask(_JOBS)},
                servers={row[0] for row in ask("SELECT server_id FROM servers")},
                row_counts=dict(counts),
            )

    def owner(self, key: AttemptKey) -> str | None:
        """Who claimed an attempt that has not ended."""
        stored = self.attempts.get(key)
        return stored.owner if stored is not None and stored.is_active else None

    def revisions(self) -> dict[str, int]:
        """The last revision of each job."""
        found: dict[str, int] = {}
        for key, stored in self.attempts.items():
            found[key.job_id] = max(found.get(key.job_id, 0), stored.revision)
        return found

    def check(self) -> None:
        """What holds of every state by itself."""
        active = Counter(each.job_id for each in self.attempts.values() if each.is_active)
        for job_id, (newest, answering, _) in self.jobs.items():
            numbers = [key.number for key in self.attempts if key.job_id == job_id]
            assert numbers == list(range(1, newest + 1)), "the newest is the last of all"
            assert answering is None or answering <= newest
            is_running = self.attempts[AttemptKey(job_id=job_id, number=newest)].is_active
            assert active[job_id] == is_running, "a job runs if and only if one attempt does"
        for key, stored in self.attempts.items():
            self._check_attempt(key, stored)

    def _check_attempt(self, key: AttemptKey, stored: Stored) -> None:
        if stored.result is not None and not stored.result.startswith(b"result: cancelled"):
            expected = f"result: {process.name_of(key)}".encode()
            assert stored.result.startswith(expected), "a result is that of its own attempt"
        if stored.is_active and stored.owner is not None:
            assert stored.owner in self.servers, "who has an attempt has a record"
        retries = stored.number - stored.chain
        assert retries <= process.RETRIES.max_retries, "retries come to an end"
        after = self.attempts.get(AttemptKey(job_id=key.job_id, number=key.number + 1))
        follows = after is not None and after.chain == stored.chain
        assert follows == bool(stored.is_retried), "one attempt of a chain stands for it"
        if follows:
            assert stored.cancel_reason is None, "what was to be stopped is not begun again"

    def check_after(self, before: "Look", deleted: set[bytes]) -> None:
        """What holds of every change; `deleted` are results whose output was deleted since."""
        assert self.jobs.keys() >= before.jobs.keys()
        assert self.attempts.keys() >= before.attempts.keys(), "what was acknowledged stays"
        assert self.row_counts.items() >= before.row_counts.items()
        for key, old in before.attempts.items():
            new = self.attempts[key]
            assert new.revision >= old.revision
            if old.is_active:
                reason = old.cancel_reason
                assert reason in (None, new.cancel_reason), "what is to be stopped stays so"
                continue
            result = old.result
            if result in deleted and new.result != result:
                assert result is not None
                result = v.without_output(result)
            told = (new.status, new.revision, new.is_retried, new.result)
            assert told == (old.status, old.revision, old.is_retried, result), "ended is ended"

    def check_content(self, disk: set[str]) -> None:
        """Whatever is needed is there."""
        inputs = {v.sha(name): v.spec(name).inputs["input"] for name in NAMES}
        for key, stored in self.attempts.items():
            if stored.is_active:
                assert inputs[key.job_id] in disk, "a job that has not ended has its inputs"
        for _, _, kept in self.jobs.values():
            assert not kept or kept in disk, "what look-ups find has its output"


NAMES = "abc"
