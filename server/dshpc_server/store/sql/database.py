"""How a database is reached: which kind of it a setting names, and what every kind has to offer.

Each kind has a module of its own; `trouble` knows which of their errors mean "not now".
"""

import contextlib
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

import sqlalchemy

from dshpc_server import clock, errors
from dshpc_server.store.sql import postgres, sqlite, trouble

RETRY_AFTER_SECONDS = 1.0
_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRES = ("postgresql", "postgresql+psycopg")


class Database(Protocol):
    """A database that a store lies in."""

    @property
    def name(self) -> str:
        """How logs and errors call it; no secret is in it."""
        ...

    @property
    def readers(self) -> sqlalchemy.Engine:
        """For questions: each transaction sees one state, and cannot write."""
        ...

    @property
    def writers(self) -> sqlalchemy.Engine:
        """For writes."""
        ...

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep other servers out, where it is for one only. Raises StoreInUseError."""
        ...

    def prepare(self) -> None:
        """Make it fit for a store. Raises StoreUnusableError."""
        ...

    def changing_tables(self) -> contextlib.AbstractContextManager[sqlalchemy.Connection]:
        """One transaction for changing tables; of several servers one does it at a time."""
        ...

    def follow(
        self,
        server_id: Callable[[], str],
        tell: Callable[[Collection[str] | None], None],
        tell_batches: Callable[[Collection[str]], None],
        clock: clock.Clock,
    ) -> contextlib.AbstractContextManager[None]:
        """Have told what other servers than this one announce; see `notices.listening`."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


def parse(url: str | pathlib.Path) -> sqlalchemy.URL:
    """Return the database that a setting names; a path names an SQLite file.

    Raises ValueError for one that this store does not know; it tells no password.
    """
    if isinstance(url, pathlib.Path):
        return sqlalchemy.URL.create("sqlite", database=str(url))
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError(
            "it is not the URL of a store, as in postgresql://USER@HOST/DATABASE"
        ) from None
    if parsed.drivername not in _SQLITE + _POSTGRES:
        raise ValueError(f"a store of kind '{parsed.drivername}' is not known")
    if parsed.drivername in _POSTGRES:
        return _checked_postgres(parsed)
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise ValueError("a store lies in a file that is named by its path")
    return parsed


def connect(url: sqlalchemy.URL, *, read_only: bool) -> Database:
    """Return a database that `parse` has returned. Nothing is opened yet."""
    if url.drivername in _POSTGRES:
        return postgres.PostgresDatabase(url, read_only=read_only)
    return sqlite.SqliteDatabase(url, read_only=read_only)


@contextlib.contextmanager
def operating() -> Iterator[None]:
    """Turn what the database could not do just now into `errors.UnavailableError`.

    A full disk (`errors.NoRoomError`), a lock, a lost connection. What is wrong in a statement or
    in a value stays the bug that it is. `availability` tells the log of it.
    """
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        found = trouble.of(error)
        if found is None:
            raise
        if found is trouble.Trouble.NO_ROOM:
            raise errors.NoRoomError(
                "the store cannot answer now: it has no room",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            ) from error
        raise errors.UnavailableError(
            "the store cannot answer now", retry_after_seconds=RETRY_AFTER_SECONDS
        ) from error


def is_operational(error: BaseException) -> bool:
    """Whether the database's machinery failed, which ends the whole transaction."""
    return trouble.of(error) is not None


def reason(error: BaseException) -> str:
    """Return what the database itself says, in one line; it is for the log alone."""
    return " ".join(str(getattr(error, "orig", error)).split())


def _checked_postgres(url: sqlalchemy.URL) -> sqlalchemy.URL:
    if not url.database:
        raise ValueError("the URL of a store in PostgreSQL names its database")
    return url
