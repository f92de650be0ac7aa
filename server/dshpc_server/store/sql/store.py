"""The SQL store: opened, written to in group commits, closed."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeVar

import sqlalchemy

from dshpc_server import clock
from dshpc_server.store.port import Attempt, Commit, StoreUnusableError, Writer
from dshpc_server.store.sql import database, lock, migrate, reader, writer

T = TypeVar("T")
_SYSTEM_CLOCK = clock.SystemClock()


class SqlStore(reader.SqlReader):
    """`store.port.Store` in one SQLite file; `open` makes one."""

    def __init__(
        self, engine: sqlalchemy.Engine, clock: clock.Clock, held: contextlib.ExitStack
    ) -> None:
        super().__init__(engine)
        self._writers = database.writer(engine)
        self._clock = clock
        self._held = held

    @classmethod
    def open(
        cls,
        url: str | pathlib.Path,
        *,
        clock: clock.Clock = _SYSTEM_CLOCK,
        read_only: bool = False,
    ) -> Self:
        """Open a store, made or brought up to date as needed; a path names an SQLite file.

        Nobody else can open it for writing until it is closed. `read_only` takes no lock and
        changes nothing: for looking at a store that a server may be using. The clock tells when
        something was cancelled; of all else the caller says when it was. Raises StoreInUseError,
        StoreUnusableError, or ValueError for a URL that names no store.
        """
        parsed = database.parse(url)
        name = str(parsed.database)
        with contextlib.ExitStack() as held, _usable(name):
            if not read_only:
                held.enter_context(lock.held(pathlib.Path(f"{name}.lock"), store=name))
            engine = database.engine(parsed, read_only=read_only)
            held.callback(engine.dispose)
            _make_current(engine, name, read_only=read_only)
            return cls(engine, clock, held.pop_all())

    @property
    def name(self) -> str:
        """See the port."""
        return self._engine.dialect.name

    def write(self, works: Sequence[Callable[[Writer], T]]) -> Commit[T]:
        """See the port."""
        answers: list[T | Exception] = []
        changes: list[Attempt] = []
        with database.operating(), self._writers.begin() as connection:
            for work in works:
                writing = writer.SqlWriter(connection, self._clock)
                answer, changed = _attempt(connection, writing, work)
                answers.append(answer)
                changes += changed
        return Commit(answers=answers, changes=changes)

    def close(self) -> None:
        """See the port."""
        self._held.close()


def _attempt(
    connection: sqlalchemy.Connection, writing: writer.SqlWriter, work: Callable[[Writer], T]
) -> tuple[T | Exception, Sequence[Attempt]]:
    """Run one work behind a savepoint; give what it answered or raised, and what it changed."""
    savepoint = connection.begin_nested()
    try:
        answer = work(writing)
    except Exception as error:
        if database.is_operational(error):
            raise
        savepoint.rollback()
        return error, ()
    savepoint.commit()
    return answer, writing.changes


def _make_current(engine: sqlalchemy.Engine, name: str, *, read_only: bool) -> None:
    with engine.connect() as connection:
        current = migrate.is_current(connection, store=name)
    if read_only:
        if not current:
            raise StoreUnusableError(name, "its tables are of an older version")
        return
    database.keep_write_ahead_log(engine)
    if not current:
        with database.rebuilding(engine, store=name) as connection:
            migrate.upgrade(connection)


@contextlib.contextmanager
def _usable(name: str) -> Iterator[None]:
    """Say what is wrong with a file that SQLite cannot work with."""
    try:
        yield
    except sqlalchemy.exc.DatabaseError as error:
        raise StoreUnusableError(name, str(error.orig)) from error
    except OSError as error:
        raise StoreUnusableError(name, error.strerror or str(error)) from error
