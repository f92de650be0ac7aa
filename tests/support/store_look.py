"""A look into an SQL store past its port: what the tables hold, asked by hand."""

import contextlib
import functools
import pathlib
import tempfile
from typing import TypeAlias

import sqlalchemy

from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store.sql.store import SqlStore

Stored: TypeAlias = tuple[JobStatus, int, bytes | None]

_ANSWERING = """
    SELECT answering_attempt,
        (SELECT count(*) FROM attempts a WHERE a.job_id = j.job_id AND is_bypass = 0
            AND number >= counted_from AND a.status IN ('FAILED', 'TIMEOUT', 'NODE_FAIL',
            'OUT_OF_MEMORY', 'BOOT_FAIL', 'DEADLINE', 'PREEMPTED')),
        coalesce((SELECT is_bypass FROM attempts a WHERE a.job_id = j.job_id
            AND number = answering_attempt), 0)
    FROM jobs j WHERE job_id = ?
"""


def attempts(store: SqlStore) -> dict[AttemptKey, Stored]:
    """Status, revision and result of every attempt."""
    question = "SELECT job_id, number, status, revision, result FROM attempts"
    with store._engine.connect() as connection:
        return {
            AttemptKey(job_id=job_id, number=number): (JobStatus(status), revision, result)
            for job_id, number, status, revision, result in connection.exec_driver_sql(question)
        }


def priority(store: SqlStore, job_id: str) -> int:
    """With which priority the newest attempt of a job is, or was, in the queue."""
    question = "SELECT priority FROM attempts WHERE job_id = :job ORDER BY number DESC LIMIT 1"
    with store._engine.connect() as connection:
        found = connection.execute(sqlalchemy.text(question), {"job": job_id})
        return int(found.scalar_one())


def answering(store: SqlStore, job_id: str) -> tuple[int | None, int, bool]:
    """The attempt that answers, how many ordinary ones failed, and whether it is none of them."""
    with store._engine.connect() as connection:
        number, failures, is_bypass = connection.exec_driver_sql(_ANSWERING, (job_id,)).one()
    return number, failures, bool(is_bypass)


def be_careless(store: SqlStore) -> None:
    """Do not wait for the disk, on the one connection that one thread uses: no test cuts power."""
    with contextlib.closing(store._engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA synchronous = OFF")


@functools.cache
def empty_store() -> bytes:
    """The file of a store in which nothing is; making one takes longer than many steps."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "store.db"
        SqlStore.open(path).close()
        return path.read_bytes()
