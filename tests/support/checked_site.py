"""Data of a server for tests of checks: a store, files, methods and folders in which all is right.

Jobs are told by a word, which stands in their parameters: `inline` and `kept` have completed,
`failed` has failed and was not run again, `resubmitted` failed and waits again, `cancelled` was
cancelled in the queue, `retried` was lost once and then completed, `alone` was for one request
alone, `running` runs, and `pending` waits.
"""

import contextlib
import datetime
import pathlib
import sqlite3
from collections.abc import Iterator, Sequence

from dshpc_server import clock, deployment
from dshpc_server.batches import encoding, reports
from dshpc_server.checking import check
from dshpc_server.checking.findings import Finding
from dshpc_server.domain import identity, lookup
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, JobSpec, JobStatus, Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import CachePolicy, ResubmitPolicy
from dshpc_server.files import content
from dshpc_server.methods import catalog
from dshpc_server.store import port, records, undecided
from dshpc_server.store.sql import invariants
from dshpc_server.transport import encoder, reading
from support import methods_site, site
from support import store_values as v

NAMES = (
    "inline",
    "kept",
    "failed",
    "resubmitted",
    "retried",
    "cancelled",
    "alone",
    "running",
    "pending",
)
INPUT = b"some data\n"
OUTPUT = b"an output\n"
LONG_OUTPUT = b"a long output\n" * 10
SCOPE = "local/somewhere"
MAX_RETRIES = 3
ENCODER = encoder.MultiJobResultEncoder()
NEVER = lookup.Policy(resubmit=ResubmitPolicy.NEVER)
ONLY = lookup.Policy(cache=CachePolicy.ONLY)
_STATUSES = {
    Event.SUCCEEDED: JobStatus.COMPLETED,
    Event.EXITED_NONZERO: JobStatus.FAILED,
    Event.LOST: JobStatus.NODE_FAIL,
}


class Site:
    """Data of a server, in a folder; its store there or elsewhere."""

    def __init__(self, folder: pathlib.Path, store: str | pathlib.Path | None = None) -> None:
        self.data_dir = folder
        self.store = store or folder / "dshpc.sqlite"
        self.clock = methods_site.HandClock()
        self.clock.moment = v.NOON

    @property
    def files(self) -> content.ContentStore:
        """The content; opening it clears up what came of uploads."""
        return content.ContentStore(self.data_dir / "files")

    def content(self, data: bytes) -> pathlib.Path:
        """Where this content is, or would be."""
        file_hash = site.hash_of(data)
        return self.data_dir / "files" / file_hash[:2] / file_hash[2:4] / file_hash

    def folder(self, name: str, number: int = 1) -> pathlib.Path:
        """The folder of a job's attempt, made if need be."""
        job_id = self.job_id(name)
        made = self.data_dir / "attempts" / job_id[:2] / job_id / str(number)
        made.mkdir(parents=True, exist_ok=True)
        return made

    def function_hash(self) -> str:
        """The version of the one method."""
        (record,) = (self.data_dir / "methods" / "versions" / "echo").glob("*.json")
        return record.stem

    def spec(self, name: str) -> JobSpec:
        """What the job of this name runs."""
        function_hash, inputs = self.function_hash(), {"input": site.hash_of(INPUT)}
        parameters = f'{{"name":"{name}"}}'
        return JobSpec(
            job_id=identity.job_id(
                function_hash=function_hash, inputs=inputs, parameters_json=parameters
            ),
            method_name="echo",
            function_hash=function_hash,
            inputs=inputs,
            parameters_json=parameters,
        )

    def job_id(self, name: str) -> str:
        """The id of the job of this name."""
        return self.spec(name).job_id

    def job_ids(self) -> dict[str, str]:
        """The id of every job, by its name."""
        return {name: self.job_id(name) for name in NAMES}

    def open(self, *, read_only: bool = False, scope: str = SCOPE) -> invariants.SqlInspection:
        """Open the store."""
        opened = invariants.SqlInspection.open(
            self.store, clock=self.clock, read_only=read_only, scope=scope
        )
        opened.max_retries = MAX_RETRIES
        return opened

    def check(self, store: invariants.SqlInspection) -> check.Check:
        """A check of it that waits for nothing."""
        return check.Check(
            store, self.data_dir, read=reading.told, wait=lambda: None, clock=self.clock
        )

    def found(self) -> list[Finding]:
        """What a check finds."""
        with contextlib.closing(self.open(read_only=True)) as store:
            return list(self.check(store).run())

    def broken(self) -> set[str]:
        """The rules that do not hold."""
        return {finding.rule.name for finding in self.found()}

    @contextlib.contextmanager
    def by_hand(self) -> Iterator[sqlite3.Connection]:
        """The database, which lets everything through; for one in a file."""
        with contextlib.closing(sqlite3.connect(self.store)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA ignore_check_constraints = ON")
            with connection:
                yield connection


def fill(made: Site, folder: pathlib.Path) -> None:
    """Make the data; a methods folder is written beside it."""
    site.install(folder / "site", "echo", site.SCRIPTS["echo"])
    catalog.Catalog(folder / "site", made.data_dir / "methods", clock.SystemClock()).load()
    made.files.put(INPUT)
    with contextlib.closing(made.open()) as store:
        deployment.settle(store, made.data_dir)
        record = records.FileRecord(
            file_hash=site.hash_of(INPUT),
            size_bytes=len(INPUT),
            filename="a.csv",
            media_type="",
            created_at=v.NOON,
            last_used_at=v.NOON,
        )
        v.write(store, lambda writer: writer.put_file(record))
        _Filling(made, store).run()


class _Filling:
    """Runs jobs in a store."""

    def __init__(self, made: Site, store: port.Store) -> None:
        self._made = made
        self._store = store

    def run(self) -> None:
        names = ["inline", "kept", "failed", "resubmitted", "retried", "cancelled"]
        self._accept("first", *names, rejected=True)
        self._claim(len(names) - 1)
        self._cancel("cancelled")
        self._end("inline", Event.SUCCEEDED, OUTPUT)
        self._made.files.put(LONG_OUTPUT)
        self._end("kept", Event.SUCCEEDED, LONG_OUTPUT, is_inline=False)
        self._end("failed", Event.EXITED_NONZERO)
        self._end("resubmitted", Event.EXITED_NONZERO)
        self._end("retried", Event.LOST, retry=True)
        self._claim(1)
        self._end("retried", Event.SUCCEEDED, OUTPUT, number=2)
        self._accept("found", "inline", "retried", "failed", policy=NEVER)
        self._accept("unknown", "nothing of this name", policy=ONLY)
        self._accept("alone", "alone", policy=v.BYPASS)
        self._claim(1)
        self._end("alone", Event.SUCCEEDED, OUTPUT)
        self._accept("last", "running", "resubmitted", "pending", "running")
        self._claim(1)
        self._start("running")
        self._wait()

    def _wait(self) -> None:
        """Accept a row that waits for another one and for a job, which has ended."""
        spec = self._made.spec("of others")
        plan = undecided.Undecided(
            config_index=1,
            method_name=spec.method_name,
            function_hash=spec.function_hash,
            inputs={},
            parameters_json=spec.parameters_json,
            resources=Resources(),
            timeout_seconds=60.0,
            policy=v.USUAL,
        )
        first = AttemptKey(job_id=self._made.job_id("inline"), number=1)
        waiting = records.NewRow(
            index=1,
            head=b"head",
            candidate=None,
            rejection=None,
            undecided=plan,
            dependencies=[
                undecided.Dependency(
                    upstream_index=0, condition=Condition.FINISHED, upstream_name="config 'x'"
                ),
                undecided.Dependency(
                    upstream_chain=first,
                    condition=Condition.SUCCEEDED,
                    input_name="input",
                    upstream_name="job",
                ),
            ],
        )
        rows = [self._row(0, "pending", v.USUAL), waiting]
        v.accept(self._store, v.batch("waits", rows=rows, at=self._moment()))
        upstreams = undecided.Upstreams(batch_ids=["waits"])
        settled = v.write(self._store, lambda writer: writer.settle(upstreams, lambda _: b""))
        assert (settled.skipped, settled.ready) == ({}, [])

    def _moment(self) -> datetime.datetime:
        self._made.clock.advance(0.01)
        return self._made.clock.now()

    def _accept(
        self,
        batch_id: str,
        *names: str,
        rejected: bool = False,
        policy: lookup.Policy = v.USUAL,
    ) -> None:
        rows = [self._row(index, name, policy) for index, name in enumerate(names)]
        if rejected:
            rows.append(v.rejected(len(rows)))
        v.accept(self._store, v.batch(batch_id, rows=rows, at=self._moment()))

    def _row(self, index: int, name: str, policy: lookup.Policy) -> records.NewRow:
        candidate = records.Candidate(
            spec=self._made.spec(name),
            resources=Resources(),
            timeout_seconds=60.0,
            policy=policy,
        )
        return records.NewRow(index=index, head=b"head", candidate=candidate, rejection=None)

    def _claim(self, limit: int) -> None:
        claims = v.write(self._store, lambda writer: writer.claim(v.take, limit))
        assert len(claims.taken) == limit

    def _start(self, name: str) -> None:
        key = AttemptKey(job_id=self._made.job_id(name), number=1)
        self._made.folder(name)
        report = records.Report(key=key, event=Event.STARTED, at=self._moment(), node="somewhere")
        assert v.record(self._store, report)

    def _cancel(self, name: str) -> None:
        def end(attempt: records.Attempt) -> records.Ending:
            assert attempt.ended_at is not None
            return self._ending(attempt, attempt.ended_at, JobStatus.CANCELLED, None)

        job_id = self._made.job_id(name)
        v.write(self._store, lambda writer: writer.cancel([job_id], "not needed", end))

    def _end(
        self,
        name: str,
        event: Event,
        data: bytes | None = None,
        *,
        number: int = 1,
        is_inline: bool = True,
        retry: bool = False,
    ) -> None:
        self._made.folder(name, number)
        attempt = self._store.find_attempts([self._made.job_id(name)])[self._made.job_id(name)]
        assert attempt.key.number == number
        at = self._moment()
        told = None
        if data is not None:
            told = encoding.Output(
                output_hash=site.hash_of(data),
                size_bytes=len(data),
                text=data.decode() if is_inline else None,
            )
        report = records.Report(
            key=attempt.key,
            event=event,
            at=at,
            started_at=at,
            ending=self._ending(attempt, at, _STATUSES[event], told),
            retry_after_seconds=0.0 if retry else None,
        )
        assert v.record(self._store, report)

    def _ending(
        self,
        attempt: records.Attempt,
        at: datetime.datetime,
        status: JobStatus,
        told: encoding.Output | None,
    ) -> records.Ending:
        ended = encoding.EndedAttempt(
            key=attempt.key,
            status=status,
            function_hash=attempt.function_hash,
            created_at=attempt.created_at,
            started_at=at,
            ended_at=at,
            exit_code=0 if status is JobStatus.COMPLETED else 1,
            signal=None,
            output=told,
            reason="" if status is JobStatus.COMPLETED else "it failed",
            stderr_tail="",
        )
        return reports.ending(ended, ENCODER)


def lines(findings: Sequence[Finding]) -> str:
    """What a check would print, for the assertion that fails."""
    return "\n".join(finding.line() for finding in findings)
