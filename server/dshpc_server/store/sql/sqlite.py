"""SQLite, for one server: connections, transactions, the lock, changing tables.

Its driver is told to leave transactions alone; they are begun here: with BEGIN for questions (one
state of the store, however many statements), with BEGIN IMMEDIATE for writes (the lock is taken at
once, so that what was read cannot change before it is written).
"""

import contextlib
import pathlib
import sqlite3
from collections.abc import Callable, Collection, Iterator
from typing import Any

import sqlalchemy

from dshpc_server import clock
from dshpc_server.store.port import StoreUnusableError
from dshpc_server.store.sql import lock

# Somebody else's program may hold the database for a moment, never another server.
_BUSY_TIMEOUT_MILLISECONDS = 5_000
_CACHE_KIBIBYTES = 64 * 1024
# The log of a large write is cut back to this afterwards.
_JOURNAL_SIZE_BYTES = 64 * 1024 * 1024
# A page that is written again and again until then goes into the file once: 8 MiB. With more a
# large batch takes less time, and now and then a commit a tenth of a second.
_CHECKPOINT_PAGES = 2_048
_PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "temp_store = MEMORY",
    f"busy_timeout = {_BUSY_TIMEOUT_MILLISECONDS}",
    f"cache_size = -{_CACHE_KIBIBYTES}",
    f"journal_size_limit = {_JOURNAL_SIZE_BYTES}",
    f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
)
_WRITES = "store_writes"


class SqliteDatabase:
    """`store.sql.database.Database` in a file."""

    def __init__(self, url: sqlalchemy.URL, *, read_only: bool) -> None:
        self.name = str(url.database)
        self.readers = _engine(url, read_only=read_only)
        self.writers = self.readers.execution_options(**{_WRITES: True})

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock file."""
        return lock.held(pathlib.Path(f"{self.name}.lock"), store=self.name)

    def prepare(self) -> None:
        """Let questions and writes go on side by side. Stays with the file."""
        with contextlib.closing(self.readers.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA journal_mode = WAL")

    @contextlib.contextmanager
    def changing_tables(self) -> Iterator[sqlalchemy.Connection]:
        """One transaction in which tables may be put in the place of others.

        SQLite can change a table only by copying it, and would take the drop of the old one for
        the loss of its rows: what refers to what is looked at before the end, not on the way.
        Raises StoreUnusableError, and changes nothing, when a row refers to what is not there.
        """
        with self.writers.connect() as connection:
            # Has no effect inside a transaction, so it goes around it, by the driver.
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
                    if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                        raise StoreUnusableError(self.name, "a row refers to what is not there")
            finally:
                driver.execute("PRAGMA foreign_keys = ON")

    def follow(
        self,
        server_id: Callable[[], str],  # noqa: ARG002 (there is nobody else)
        tell: Callable[[Collection[str] | None], None],  # noqa: ARG002 (the same)
        tell_batches: Callable[[Collection[str]], None],  # noqa: ARG002 (the same)
        clock: clock.Clock,  # noqa: ARG002 (the same)
    ) -> contextlib.AbstractContextManager[None]:
        """Tell nothing: there is nobody else."""
        return contextlib.nullcontext()

    def close(self) -> None:
        """Close every connection."""
        self.readers.dispose()


def _engine(url: sqlalchemy.URL, *, read_only: bool) -> sqlalchemy.Engine:
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
