"""Group commits: works in one transaction, and again where what others did stood in the way.

PostgreSQL ends one of two transactions that wait for each other. Such a one is made again: first
as it was, since mostly the other has gone by then; then every work in a transaction of its own, so
that each takes its locks in the one order in which all do.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

import sqlalchemy
import structlog

from dshpc_server import crashing, errors
from dshpc_server.store.port import Writer
from dshpc_server.store.records import Attempt, ChangedRows, Commit
from dshpc_server.store.sql import availability, database, trouble
from dshpc_server.store.sql.writer import SqlWriter

T = TypeVar("T")
TRIES_TOGETHER = 2
TRIES_ALONE = 5

_log = structlog.get_logger(__name__)


class GroupCommit(Generic[T]):
    """One group of works on its way into the database."""

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        writing: Callable[[sqlalchemy.Connection], Callable[[], SqlWriter]],
        announce: Callable[[sqlalchemy.Connection, Collection[str], Collection[str]], None],
        availability: availability.Availability,
    ) -> None:
        """`writing` begins what writes in a transaction: each call of that is for one work.

        `announce` is handed the jobs that a transaction has changed, and the batches of which it
        has changed rows, before its end.
        """
        self._engine = engine
        self._writing = writing
        self._announce = announce
        self._availability = availability

    def run(self, works: Sequence[Callable[[Writer], T]]) -> Commit[T]:
        """Run the works and commit; see `store.port.Store.write`."""
        with self._availability.writing():
            commit = self._tried(works, TRIES_TOGETHER)
        return self._one_by_one(works) if commit is None else commit

    def _tried(self, works: Sequence[Callable[[Writer], T]], tries: int) -> Commit[T] | None:
        """Commit these together; None when something stood in the way every time."""
        for _ in range(tries):
            try:
                return self._committed(works)
            except sqlalchemy.exc.DBAPIError as error:
                if trouble.of(error) is not trouble.Trouble.CONFLICT:
                    raise
                _log.info("store.conflict", works=len(works))
        return None

    def _committed(self, works: Sequence[Callable[[Writer], T]]) -> Commit[T]:
        answers: list[T | Exception] = []
        changes: list[Attempt] = []
        rows: list[ChangedRows] = []
        touched: set[str] = set()
        with self._engine.begin() as connection:
            begin = self._writing(connection)
            for work in works:
                writing = begin()
                answer = _attempt(connection, writing, work)
                answers.append(answer)
                if not isinstance(answer, Exception):
                    changes += writing.changes
                    rows += writing.changed_rows
                    touched |= writing.touched
            job_ids = touched.union(each.key.job_id for each in changes)
            self._announce(connection, job_ids, {each.batch_id for each in rows})
            crashing.point("store.before_commit")
        crashing.point("store.committed")
        return Commit(answers=answers, changes=changes, rows=rows, touched=touched)

    def _one_by_one(self, works: Sequence[Callable[[Writer], T]]) -> Commit[T]:
        """Commit every work on its own; where that cannot be done, its answer says so."""
        answers: list[T | Exception] = []
        changes: list[Attempt] = []
        rows: list[ChangedRows] = []
        touched: set[str] = set()
        for number, work in enumerate(works):
            try:
                with self._availability.writing():
                    commit = self._tried([work], TRIES_ALONE)
            except errors.UnavailableError as error:  # for the others, too
                answers += [error] * (len(works) - number)
                break
            if commit is None:
                answers.append(_busy())
            else:
                answers += commit.answers
                changes += commit.changes
                rows += commit.rows
                touched.update(commit.touched)
        return Commit(answers=answers, changes=changes, rows=rows, touched=touched)


def _attempt(
    connection: sqlalchemy.Connection, writing: SqlWriter, work: Callable[[Writer], T]
) -> T | Exception:
    """Run one work behind a savepoint; give what it answered or raised."""
    savepoint = connection.begin_nested()
    try:
        answer = work(writing)
    except Exception as error:
        if database.is_operational(error):
            raise
        savepoint.rollback()
        return error
    savepoint.commit()
    return answer


def _busy() -> errors.UnavailableError:
    return errors.UnavailableError(
        "others keep changing the same in the store",
        retry_after_seconds=database.RETRY_AFTER_SECONDS,
    )
