"""Small values for tests of the store: jobs, batches, reports, each told by a number or a word."""

import dataclasses
import datetime
import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from dshpc_server.domain import job, lookup
from dshpc_server.domain.job import AttemptKey, JobSpec, JobStatus, Resources
from dshpc_server.domain.lifecycle import TRANSITIONS, Event
from dshpc_server.domain.queue import Verdict
from dshpc_server.store.port import Store, Writer
from dshpc_server.store.records import (
    ActiveAttempt,
    Attempt,
    BatchRecord,
    BatchTally,
    Candidate,
    Claim,
    Ending,
    FileRecord,
    ListPosition,
    NewBatch,
    NewRow,
    Report,
    RequestName,
    Row,
    Withdrawal,
    Withdrawn,
)

T = TypeVar("T")

NOON = datetime.datetime(2024, 5, 17, 12, 0, 0, 123456, tzinfo=datetime.UTC)
USUAL = lookup.Policy()
REFRESH = lookup.Policy(cache=lookup.CachePolicy.REFRESH)
BYPASS = lookup.Policy(cache=lookup.CachePolicy.BYPASS)
ONLY = lookup.Policy(cache=lookup.CachePolicy.ONLY)
ENDING_EVENTS = {t.event for t in TRANSITIONS if t.target in job.TERMINAL}


def later(seconds: float) -> datetime.datetime:
    return NOON + datetime.timedelta(seconds=seconds)


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def spec(name: object, *, method_name: str = "count") -> JobSpec:
    return JobSpec(
        job_id=sha(name),
        method_name=method_name,
        function_hash=sha("function"),
        inputs={"input": sha(f"input of {name}")},
        parameters_json=f'{{"name":"{name}"}}',
    )


def claim(name: object = "job", *, cpus: int = 1) -> Claim:
    """The first attempt of a job, taken from the queue."""
    return Claim(
        key=AttemptKey(job_id=sha(name), number=1),
        spec=spec(name),
        resources=Resources(cpus=cpus),
        timeout_seconds=60.0,
        created_at=NOON,
        revision=2,
        chain=1,
    )


def take(_: Claim) -> Verdict:
    """Whatever is next in the queue."""
    return Verdict.TAKE


def left_by(server_id: str, name: object) -> ActiveAttempt:
    """A running attempt that was taken over from a server."""
    return ActiveAttempt(
        claim=claim(name),
        status=JobStatus.RUNNING,
        started_at=None,
        cancel_reason=None,
        taken_from=server_id,
    )


def row(
    index: int,
    name: object,
    *,
    cpus: int = 1,
    method_name: str = "count",
    policy: lookup.Policy = USUAL,
    priority: int | None = None,
) -> NewRow:
    candidate = Candidate(
        spec=spec(name, method_name=method_name),
        resources=Resources(cpus=cpus, memory_bytes=1024, gpus=0),
        timeout_seconds=60.5,
        policy=policy,
    )
    return NewRow(
        index=index,
        head=b"head %d" % index,
        candidate=candidate,
        rejection=None,
        priority=priority,
    )


def rejected(index: int) -> NewRow:
    return NewRow(index=index, head=b"head %d" % index, candidate=None, rejection=b"no such method")


def batch(
    batch_id: str,
    *names: object,
    at: datetime.datetime = NOON,
    rows: Collection[NewRow] | None = None,
    file_hashes: Collection[str] = (),
    policy: lookup.Policy = USUAL,
    lost_outputs: Collection[str] = (),
    priority: int = 0,
    request: RequestName | None = None,
    max_failures: int = 0,
) -> NewBatch:
    """A batch of one row for each name, or of these rows."""
    if rows is None:
        rows = [row(index, name, policy=policy) for index, name in enumerate(names)]
    return NewBatch(
        batch_id=batch_id,
        display_name=f"the batch {batch_id}",
        created_at=at,
        rows=list(rows),
        file_hashes=file_hashes,
        lost_outputs=lost_outputs,
        priority=priority,
        request=request,
        max_failures=max_failures,
    )


def request_name(number: int = 1, *, asked: object = "the same") -> RequestName:
    return RequestName(request_id=f"00000000-0000-4000-8000-{number:012d}", request_hash=sha(asked))


def an_ending(
    text: str = "done",
    *,
    output: str = "",
    is_inline: bool = True,
    reason: str = "",
    exit_code: int = 0,
) -> Ending:
    return Ending(
        result=f"result: {text}".encode(),
        exit_code=exit_code,
        signal=None,
        output_hash=sha(output) if output else "",
        output_size_bytes=len(output),
        output_is_inline=is_inline and bool(output),
        reason=reason,
        stderr_tail="warning: €",
    )


def report(
    name: object,
    event: Event,
    *,
    number: int = 1,
    at: datetime.datetime = NOON,
    ending: Ending | None = None,
) -> Report:
    """What happened to an attempt; the events that end one bring an ending."""
    if ending is None and event in ENDING_EVENTS:
        ending = an_ending()
    return Report(
        key=AttemptKey(job_id=sha(name), number=number), event=event, at=at, ending=ending
    )


def file_record(name: str, *, at: datetime.datetime = NOON, filename: str = "a.csv") -> FileRecord:
    return FileRecord(
        file_hash=sha(name),
        size_bytes=12,
        filename=filename,
        media_type="text/csv",
        created_at=at,
        last_used_at=at,
    )


def write(store: Store, work: Callable[[Writer], T]) -> T:
    """One work in a transaction of its own; raises what it raised."""
    answer = store.write([work]).answers[0]
    if isinstance(answer, Exception):
        raise answer
    return answer


def accept(store: Store, new: NewBatch) -> list[Row]:
    return list(write(store, lambda writer: writer.accept(new)))


def set_priority(store: Store, batch_id: str, priority: int) -> bool:
    return write(store, lambda writer: writer.set_priority(batch_id, priority))


def take_over(store: Store, *dead: str) -> list[ActiveAttempt]:
    return list(write(store, lambda writer: writer.take_over(dead)))


def record(store: Store, *reports: Report) -> list[Attempt]:
    return list(write(store, lambda writer: writer.record(reports)))


def claim_all(store: Store) -> list[AttemptKey]:
    claims = write(store, lambda writer: writer.claim(take, 1000))
    return [claim.key for claim in claims.taken]


def end(
    store: Store,
    name: object,
    event: Event = Event.SUCCEEDED,
    *,
    number: int = 1,
    at: datetime.datetime = NOON,
    ending: Ending | None = None,
) -> None:
    """Claim whatever waits, and bring this one to its end."""
    claim_all(store)
    assert record(store, report(name, event, number=number, at=at, ending=ending))


def complete(store: Store, name: str, *, output: str, is_inline: bool = True) -> None:
    """Accept a job that is new, and run it to its end with this output."""
    accept(store, batch(f"for {name}", name))
    ending = an_ending(f"of {name}", output=output, is_inline=is_inline)
    end(store, name, at=later(5), ending=ending)


def fail(
    store: Store,
    name: object,
    event: Event = Event.LOST,
    *,
    number: int = 1,
    retry: float | None = 0.0,
) -> list[Attempt]:
    """Claim whatever waits, and have this one fail; after that many seconds it is tried again."""
    claim_all(store)
    failed = dataclasses.replace(report(name, event, number=number), retry_after_seconds=retry)
    return record(store, failed)


def cancel(store: Store, *names: object, reason: str = "not needed") -> list[Attempt]:
    job_ids = [sha(name) for name in names]
    ending = an_ending("cancelled", reason=reason)
    return list(write(store, lambda writer: writer.cancel(job_ids, reason, lambda _: ending)))


def withdraw(
    store: Store, batch_id: str, *indexes: int, reason: str = "not needed"
) -> Withdrawn | None:
    """Withdraw these rows; without any, the whole batch."""
    asked = Withdrawal(batch_id=batch_id, indexes=indexes or None, reason=reason)
    ending = an_ending("withdrawn", reason=reason)
    return write(store, lambda writer: writer.withdraw(asked, lambda _: ending, row_ending))


def row_ending(attempt: Attempt | None, at: datetime.datetime) -> bytes:
    """What a row that ended by itself is answered with."""
    del at
    return b"row ended" if attempt is None else b"detached from %d" % attempt.key.number


def without_output(result: bytes) -> bytes:
    return result + b", its output taken out"


def begin_deleting(store: Store, file_hash: str) -> bool:
    return write(store, lambda writer: writer.delete_file(file_hash, without_output))


def delete_file(store: Store, file_hash: str) -> bool:
    """Begin and end a deletion; the content itself is nobody's here."""
    was_known = begin_deleting(store, file_hash)
    write(store, lambda writer: writer.forget_file(file_hash))
    return was_known


def newest(store: Store, name: object) -> Attempt:
    return store.find_attempts([sha(name)])[sha(name)]


def status(store: Store, name: object) -> JobStatus:
    return newest(store, name).status


def rows_of(store: Store, batch_id: str, *statuses: JobStatus) -> list[Row]:
    return list(store.find_rows(batch_id, first_index=0, limit=99, statuses=statuses))


def position(batch: BatchRecord) -> ListPosition:
    """Where a listing of batches stands that has come to this one."""
    return ListPosition(at=batch.created_at, name=batch.batch_id)


def tally(store: Store, batch_id: str) -> BatchTally:
    """How many rows of a batch are what."""
    return store.find_tallies([batch_id])[batch_id]


def unstamped(rows: Sequence[Row]) -> list[Row]:
    """Rows without when they and their attempts were changed."""
    return [
        dataclasses.replace(
            row,
            changed_at=0,
            attempt=row.attempt and dataclasses.replace(row.attempt, changed_at=0),
        )
        for row in rows
    ]


def shown(store: Store, batch_id: str) -> tuple[int, JobStatus]:
    """What the one row of a batch shows."""
    (only,) = rows_of(store, batch_id)
    assert only.attempt is not None
    return only.attempt.key.number, only.attempt.status
