"""The SQL store against its floor: rows a second, and the ratio to bare sqlite3 in the same run.

    python benchmarks/bench_store.py [--rows 10000] [--before 0] [--rounds 3]

The floor of a write is executemany of the same values into tables with the same keys and no other
rule, in one durable transaction; the floor of a question is the same join, fetched as tuples.
"""

import argparse
import contextlib
import datetime
import hashlib
import pathlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator

from dshpc_server.domain.job import JobSpec, Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.queue import Verdict
from dshpc_server.store.port import Writer
from dshpc_server.store.records import Candidate, Claims, Ending, NewBatch, NewRow, Report
from dshpc_server.store.sql.store import SqlStore

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
HEAD = b"h" * 300
RESULT = b"r" * 500
FUNCTION = "f" * 64
WRITES_ONE_BY_ONE = 100
FLOOR_TABLES = """
    CREATE TABLE jobs (job_id TEXT PRIMARY KEY, method, function, inputs, parameters, newest);
    CREATE TABLE attempts (job_id, number, status, revision, cpus, memory, gpus, timeout, created,
        queue_index, result, PRIMARY KEY (job_id, number));
    CREATE TABLE rows (batch_id, row_index, outcome, job_id, attempt, head,
        PRIMARY KEY (batch_id, row_index));
"""
FLOOR_QUESTION = """
    SELECT r.*, a.*, j.function FROM rows r
    JOIN attempts a ON a.job_id = r.job_id AND a.number = r.attempt
    JOIN jobs j ON j.job_id = a.job_id WHERE r.batch_id = ? ORDER BY r.row_index
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="rows a batch")
    parser.add_argument("--before", type=int, default=0, help="completed jobs stored beforehand")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is told")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(pathlib.Path(folder), options.rows, options.before, options.rounds)


def run(folder: pathlib.Path, rows: int, before: int, rounds: int) -> None:
    best: dict[str, float] = {}
    with contextlib.closing(SqlStore.open(folder / "store.db")) as store:
        for number in range(0, before, rows):
            list(life_of_a_batch(store, f"before-{number}", rows))
        for number in range(rounds):
            times = [*floor(folder, str(number), rows), *life_of_a_batch(store, str(number), rows)]
            for what, seconds in times:
                best[what] = min(seconds, best.get(what, seconds))
    for what, seconds in best.items():
        kind = "question" if what.startswith(("find", "floor: question")) else "write"
        print(
            f"{what:<34}{seconds * 1e3:8.1f} ms {rows / seconds:10,.0f} rows/s"
            f" {seconds / best[f'floor: {kind}']:6.2f} x floor ({kind})"
        )


def life_of_a_batch(store: SqlStore, name: str, rows: int) -> Iterator[tuple[str, float]]:
    """Yield the seconds of each step for `rows` rows."""
    jobs = [spec(name, index) for index in range(rows)]
    new, waiting, found = (accepting(f"{name}-{n}", jobs) for n in ("new", "waiting", "found"))
    yield "accept: all new", clocked(lambda: write(store, new))
    yield "accept: all in progress", clocked(lambda: write(store, waiting))
    one_by_one = clocked(lambda: [write(store, claiming(1)) for _ in range(WRITES_ONE_BY_ONE)])
    yield "claim: a commit each", one_by_one * rows / WRITES_ONE_BY_ONE
    yield "claim: all at once", clocked(lambda: write(store, claiming(rows)))
    started = [Report(key=a.claim.key, event=Event.STARTED, at=START) for a in store.find_active()]
    yield "record: started, all at once", clocked(lambda: write(store, recording(started)))
    ended = [
        completed(report, f"{name} {index}", is_inline=index % 100 != 0)
        for index, report in enumerate(started)
    ]
    alone, rest = ended[:WRITES_ONE_BY_ONE], ended[WRITES_ONE_BY_ONE:]
    one_by_one = clocked(lambda: [write(store, recording([report])) for report in alone])
    yield "record: completed, a commit each", one_by_one * rows / WRITES_ONE_BY_ONE
    yield "record: completed, all at once", clocked(lambda: write(store, recording(rest)))
    yield "accept: all completed", clocked(lambda: write(store, found))
    batch_id = f"{name}-found"
    yield "find_rows", clocked(lambda: store.find_rows(batch_id, first_index=0, limit=rows))
    job_ids = [job.job_id for job in jobs]
    yield "find_attempts", clocked(lambda: store.find_attempts(job_ids))
    yield "find_kept_outputs: a hundred", clocked(lambda: store.find_kept_outputs(job_ids))
    listed = clocked(lambda: [store.find_jobs(after=None, limit=100) for _ in range(100)])
    yield "find_jobs: pages of a hundred", listed * rows / 10_000


def floor(folder: pathlib.Path, name: str, rows: int) -> Iterator[tuple[str, float]]:
    """Yield the seconds of bare sqlite3 for `rows` new rows, and for asking for them."""
    path = folder / f"floor-{name}.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(FLOOR_TABLES)
        yield "floor: write", clocked(inserting(connection, name, rows))
        question = connection.execute(FLOOR_QUESTION, (name,))
        yield "floor: question", clocked(question.fetchall)


def inserting(connection: sqlite3.Connection, name: str, rows: int) -> Callable[[], None]:
    """Return what inserts `rows` new rows into the floor's tables, in one transaction."""
    jobs = [spec(name, index) for index in range(rows)]
    values: list[tuple[str, list[tuple[str | int | float | bytes, ...]]]] = [
        (
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)",
            [(j.job_id, "m", FUNCTION, str(j.inputs), j.parameters_json, 1) for j in jobs],
        ),
        (
            "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(j.job_id, 1, "PENDING", 1, 1, 0, 0, 60.0, 0, i, RESULT) for i, j in enumerate(jobs)],
        ),
        (
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)",
            [(name, index, "SUBMITTED", job.job_id, 1, HEAD) for index, job in enumerate(jobs)],
        ),
    ]

    def insert() -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement, tuples in values:
            connection.executemany(statement, tuples)
        connection.execute("COMMIT")

    return insert


def spec(name: str, index: int) -> JobSpec:
    return JobSpec(
        job_id=hashlib.sha256(f"{name}/{index}".encode()).hexdigest(),
        method_name="histogram",
        function_hash=FUNCTION,
        inputs={"input": hashlib.sha256(f"file {index % 100}".encode()).hexdigest()},
        parameters_json=f'{{"bins":{index},"column":"{"x" * 70}"}}',
    )


def accepting(batch_id: str, jobs: list[JobSpec]) -> Callable[[Writer], object]:
    rows = [
        NewRow(
            index=index,
            head=HEAD,
            candidate=Candidate(spec=job, resources=Resources(), timeout_seconds=60.0),
            rejection=None,
        )
        for index, job in enumerate(jobs)
    ]
    batch = NewBatch(
        batch_id=batch_id, display_name="", created_at=START, rows=rows, file_hashes=()
    )
    return lambda writer: writer.accept(batch)


def claiming(limit: int) -> Callable[[Writer], Claims]:
    return lambda writer: writer.claim(lambda _: Verdict.TAKE, limit)


def recording(reports: list[Report]) -> Callable[[Writer], object]:
    return lambda writer: writer.record(reports)


def completed(started: Report, output: str, *, is_inline: bool) -> Report:
    ending = Ending(
        result=RESULT,
        exit_code=0,
        signal=None,
        output_hash=hashlib.sha256(output.encode()).hexdigest(),
        output_size_bytes=len(output),
        output_is_inline=is_inline,
        reason="",
        stderr_tail="",
    )
    return Report(key=started.key, event=Event.SUCCEEDED, at=START, ending=ending)


def write(store: SqlStore, work: Callable[[Writer], object]) -> object:
    answer = store.write([work]).answers[0]
    if isinstance(answer, Exception):
        raise answer
    return answer


def clocked(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
