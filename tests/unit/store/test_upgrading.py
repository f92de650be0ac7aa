"""A store of an earlier version keeps what it holds when it is brought up to this one."""

import pathlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import alembic.command
import alembic.config
import pytest

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import port
from dshpc_server.store.sql import columns, database, migrate
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v

NOON = columns.moment(v.NOON)
LONG = b"a result that tells of an output of " + b"9" * 200
# As a result of the first version tells of an output that it does not hold.
CUT = b"\x4a\x40" + v.sha("binary output").encode() + b"\x50\x05\x58\x01\x72\x40" + b"f" * 64
# Name: the attempts, each (status, output, its size, result).
JOBS: dict[str, list[tuple[str, str, int, bytes | None]]] = {
    "short": [("COMPLETED", "short output", 12, LONG)],
    "long": [("COMPLETED", "long output", 70_000, LONG)],
    "too": [("COMPLETED", "long output", 70_000, LONG)],
    "binary": [("COMPLETED", "binary output", 5, CUT)],
    "silent": [("COMPLETED", "", 0, LONG)],
    "failed": [("FAILED", "", 0, LONG)],
    "again": [("TIMEOUT", "", 0, LONG), ("PENDING", "", 0, None)],
    "running": [("RUNNING", "", 0, None)],
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A store of the first version with something of everything in it."""
    path = tmp_path_factory.mktemp("first") / "store.db"
    opened = database.connect(database.parse(path), read_only=False)
    config = alembic.config.Config()
    config.set_main_option("script_location", migrate._SCRIPTS)
    with opened.writers.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
    opened.close()
    with closing(sqlite3.connect(path)) as connection:
        _fill(connection)
        connection.commit()
    return path


@pytest.fixture(scope="module")
def brought_up(first: pathlib.Path) -> pathlib.Path:
    """The same, brought up to this version."""
    path = pathlib.Path(shutil.copy(first, first.with_name("brought up.db")))
    SqlStore.open(path).close()
    return path


@pytest.fixture
def path(first: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the first."""
    return pathlib.Path(shutil.copy(first, tmp_path / "store.db"))


@pytest.fixture
def upgraded(brought_up: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[SqlStore]:
    store = SqlStore.open(shutil.copy(brought_up, tmp_path / "store.db"))
    yield store
    store.close()


def _fill(connection: sqlite3.Connection) -> None:
    for name, attempts in JOBS.items():
        spec = v.spec(name)
        values = (*columns.spec_values(spec), len(attempts))
        connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", values)
        for number, (status, output, size, result) in enumerate(attempts, start=1):
            connection.execute(
                "INSERT INTO attempts (job_id, number, status, revision, cpus, memory_bytes, gpus,"
                " timeout_seconds, created_at, queue_index, ended_at, output_hash,"
                " output_size_bytes, result, stderr_tail)"
                " VALUES (?, ?, ?, 3, 2, 0, 0, 60.5, ?, 7, ?, ?, ?, ?, 'warning')",
                (
                    spec.job_id,
                    number,
                    status,
                    NOON,
                    None if result is None else NOON + 5_000_000,
                    v.sha(output) if output else "",
                    size,
                    result,
                ),
            )
    connection.execute("INSERT INTO batches VALUES ('b', 'the batch', ?, 3)", (NOON,))
    connection.executemany(
        "INSERT INTO batch_rows VALUES ('b', ?, ?, ?, ?, ?, x'68', ?)",
        [
            (0, "FOUND_COMPLETED", None, v.sha("short"), 1, None),
            (1, "RESUBMITTED", "TIMEOUT", v.sha("again"), 2, None),
            (2, "REJECTED", None, None, None, b"no such method"),
        ],
    )
    connection.execute(
        "INSERT INTO files VALUES (?, 12, 'a.csv', 'text/csv', ?, ?)", (v.sha("file"), NOON, NOON)
    )


def test_jobs_and_attempts_are_as_they_were(upgraded: SqlStore) -> None:
    for name, attempts in JOBS.items():
        record = upgraded.find_job(v.sha(name))
        assert record is not None
        assert record.spec == v.spec(name)
        found = [(each.attempt.status, each.attempt.result) for each in record.attempts]
        assert found == [(status, result) for status, _, _, result in attempts]
        assert record.newest.attempt.revision == 3
    again = upgraded.find_job(v.sha("again"))
    assert again is not None
    assert [each.attempt.replaced for each in again.attempts] == [None, JobStatus.TIMEOUT]


def test_rows_and_files_are_as_they_were(upgraded: SqlStore) -> None:
    found, again, bad = upgraded.find_rows("b", first_index=0, limit=9)
    assert (found.outcome, found.head, found.kept) == (Outcome.FOUND_COMPLETED, b"h", None)
    assert found.attempt == v.newest(upgraded, "short")
    assert (again.outcome, again.old_status) == (Outcome.RESUBMITTED, JobStatus.TIMEOUT)
    assert (bad.outcome, bad.rejection) == (Outcome.REJECTED, b"no such method")
    assert upgraded.find_file(v.sha("file")) == v.file_record("file")


def test_look_ups_find_what_they_found_before(upgraded: SqlStore) -> None:
    rows = v.accept(upgraded, v.batch("c", *JOBS, "new", at=v.later(60)))
    assert [row.outcome for row in rows] == [
        *[Outcome.FOUND_COMPLETED] * 5,
        Outcome.RESUBMITTED,
        *[Outcome.FOUND_IN_PROGRESS] * 2,
        Outcome.SUBMITTED,
    ]
    assert v.claim_all(upgraded)[0].job_id == v.sha("again")
    v.record(upgraded, v.report("again", Event.SUCCEEDED, number=2))
    (then,) = v.accept(upgraded, v.batch("d", "again"))
    assert then.outcome is Outcome.FOUND_COMPLETED


def test_what_ran_is_taken_over_and_every_attempt_is_a_chain_of_its_own(
    upgraded: SqlStore,
) -> None:
    assert upgraded.find_active() == []
    (taken,) = v.take_over(upgraded)
    assert (taken.claim.spec, taken.status) == (v.spec("running"), JobStatus.RUNNING)
    chains = upgraded.find_all_attempts([v.sha("again"), v.sha("running")])
    assert [(each.chain, each.is_retried) for each in chains] == [
        (each.key.number, False) for each in chains
    ]
    _, after = v.fail(upgraded, "running")
    assert (after.key.number, after.chain) == (2, 1)


def test_what_waited_is_before_all_that_comes_later(upgraded: SqlStore) -> None:
    v.accept(upgraded, v.batch("late", "late", at=v.later(1)))
    v.accept(upgraded, v.batch("early", "early", at=v.later(-1)))
    claimed = [key.job_id for key in v.claim_all(upgraded)]
    assert claimed == [v.sha(name) for name in ("again", "early", "late")]


def test_nothing_is_being_deleted(upgraded: SqlStore) -> None:
    assert upgraded.find_deleting() == []
    assert v.begin_deleting(upgraded, v.sha("file"))
    assert upgraded.find_deleting() == [v.sha("file")]


def test_it_is_known_where_each_output_lies(upgraded: SqlStore) -> None:
    short, long, binary = map(v.sha, ("short output", "long output", "binary output"))
    assert upgraded.find_outputs({short, long, binary}) == {short}
    assert upgraded.find_kept_outputs([v.sha(name) for name in JOBS]) == {long, binary}
    assert upgraded.find_file(binary) is not None
    record = upgraded.find_file(long)
    assert record is not None
    assert (record.size_bytes, record.filename, record.created_at) == (70_000, "", v.later(5))
    assert upgraded.find_file(short) is None


def test_references_are_held_afterwards_too(upgraded: SqlStore) -> None:
    with upgraded._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_a_store_whose_references_are_broken_is_left_as_it_was(path: pathlib.Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE batch_rows SET attempt = 9 WHERE row_index = 0")
        connection.commit()
    with pytest.raises(port.StoreUnusableError, match="refers"):
        SqlStore.open(path)
    with closing(sqlite3.connect(path)) as connection:
        version = connection.execute(f"SELECT version_num FROM {migrate.VERSION_TABLE}").fetchone()
        names = {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}
    assert version == ("0001",)
    assert "answering_attempt" not in names
