"""How a database is reached: connections, transactions, and which of its errors mean "try again".

SQLite's driver is told to leave transactions alone; they are begun here: with BEGIN for questions
(one state of the store, however many statements), with BEGIN IMMEDIATE for writes (the lock is
taken at once, so that what was read cannot change before it is written).
"""

import contextlib
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import sqlalchemy
import structlog

from dshpc_server import errors
from dshpc_server.store.port import StoreUnusableError

RETRY_AFTER_SECONDS = 1.0
# Somebody else's program may hold the database for a moment, never another server.
_BUSY_TIMEOUT_MILLISECONDS = 5_000
_CACHE_KIBIBYTES = 64 * 1024
# The log of a large write is cut back to this afterwards.
_JOURNAL_SIZE_BYTES = 64 * 1024 * 1024
_PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "temp_store = MEMORY",
    f"busy_timeout = {_BUSY_TIMEOUT_MILLISECONDS}",
    f"cache_size = -{_CACHE_KIBIBYTES}",
    f"journal_size_limit = {_JOURNAL_SIZE_BYTES}",
)
_WRITES = "store_writes"

_log = structlog.get_logger(__name__)


def parse(url: str | pathlib.Path) -> sqlalchemy.URL:
    """Return the database that a setting names; a path names an SQLite file.

    Raises ValueError for one that this store does not know.
    """
    if isinstance(url, pathlib.Path):
        return sqlalchemy.URL.create("sqlite", database=str(url))
    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise ValueError(f"'{url}' is not the URL of a store") from error
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"a store of kind '{parsed.get_backend_name()}' is not known")
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise ValueError("a store lies in a file that is named by its path")
    return parsed


def engine(url: sqlalchemy.URL, *, read_only: bool) -> sqlalchemy.Engine:
    """Return an engine on this database. Nothing is opened yet."""
    # Values are what jobs are about, which no error and no log line may tell.
    made = sqlalchemy.create_engine(url, hide_parameters=True)

    @sqlalchemy.event.listens_for(made, "connect")
    def configure(driver_connection: sqlite3.Connection, _record: object) -> None:
        driver_connection.isolation_level = None  # the driver begins nothing by itself
        try:
            for pragma in (*_PRAGMAS, f"query_only = {int(read_only)}"):
                driver_connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:  # the file is no database; nobody else will close this
            driver_connection.close()
            raise

    @sqlalchemy.event.listens_for(made, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return made


def writer(engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    """Return the same engine, its transactions made for writing."""
    return engine.execution_options(**{_WRITES: True})


@contextlib.contextmanager
def rebuilding(engine: sqlalchemy.Engine, *, store: str) -> Iterator[sqlalchemy.Connection]:
    """One transaction in which tables may be put in the place of others.

    SQLite can change a table only by copying it, and would take the drop of the old one for the
    loss of its rows: what refers to what is looked at before the end, not on the way. Raises
    StoreUnusableError, and changes nothing, when a row refers to what is not there.
    """
    with writer(engine).connect() as connection:
        # Has no effect inside a transaction, so it goes around it, by the driver.
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield connection
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise StoreUnusableError(store, "a row refers to what is not there")
        finally:
            driver.execute("PRAGMA foreign_keys = ON")


def keep_write_ahead_log(engine: sqlalchemy.Engine) -> None:
    """Let questions and writes go on side by side. Stays with the file."""
    with contextlib.closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA journal_mode = WAL")


@contextlib.contextmanager
def operating() -> Iterator[None]:
    """Turn what the database could not do just now into `errors.UnavailableError`.

    A full disk, a lock, a failing device. What is wrong in a statement or in a value stays the
    bug that it is.
    """
    try:
        yield
    except sqlalchemy.exc.OperationalError as error:
        if not is_operational(error):
            raise
        _log.warning("store.unavailable", reason=str(error.orig))
        raise errors.UnavailableError(
            "the store cannot answer now", retry_after_seconds=RETRY_AFTER_SECONDS
        ) from error


def is_operational(error: BaseException) -> bool:
    """Whether the database's machinery failed, which in SQLite ends the whole transaction."""
    if not isinstance(error, sqlalchemy.exc.OperationalError):
        return False
    cause: Any = error.orig
    # SQLite's generic error is a wrong statement.
    return getattr(cause, "sqlite_errorname", "") != "SQLITE_ERROR"
