"""PostgreSQL, for any number of servers: connections, transactions, changing tables, notices.

Questions are asked in REPEATABLE READ (one state of the store, however many statements), writes are
made in READ COMMITTED: what has waited for a lock goes on with what is true then.

A server that stands still, or is cut off, in the middle of a transaction must not hold its locks
for ever: the database ends such a transaction. And a network that is dead must be seen to be: the
operating system is told to ask, and to give up, in about ten seconds.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy

from dshpc_server import clock
from dshpc_server.store.port import StoreUnusableError
from dshpc_server.store.sql import notices

if TYPE_CHECKING:
    import psycopg

_DRIVER = "postgresql+psycopg"
_CONNECT_TIMEOUT_SECONDS = 5
_SILENCE_SECONDS = 5
_PROBES = 2
_PROBE_INTERVAL_SECONDS = 2
_DEAD_AFTER_MILLISECONDS = 10_000
_IDLE_IN_TRANSACTION_MILLISECONDS = 10_000
# One thread writes, two ask, one renews the lease; more for whoever looks on.
_CONNECTIONS = 4
_MORE_CONNECTIONS = 4
_CONNECTION_WAIT_SECONDS = 10.0
_CONNECTION = {
    "application_name": "dshpc",
    "client_encoding": "UTF8",
    "connect_timeout": str(_CONNECT_TIMEOUT_SECONDS),
    "keepalives": "1",
    "keepalives_idle": str(_SILENCE_SECONDS),
    "keepalives_interval": str(_PROBE_INTERVAL_SECONDS),
    "keepalives_count": str(_PROBES),
    "tcp_user_timeout": str(_DEAD_AFTER_MILLISECONDS),
}
_SESSION = {
    # What is committed is on disk, however careless the database is with others.
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_MILLISECONDS),
    # The database, too, is to notice that the other side is gone.
    "tcp_keepalives_idle": str(_SILENCE_SECONDS),
    "tcp_keepalives_interval": str(_PROBE_INTERVAL_SECONDS),
    "tcp_keepalives_count": str(_PROBES),
    "tcp_user_timeout": str(_DEAD_AFTER_MILLISECONDS),
    # Statements are small; compiling one takes longer than running it.
    "jit": "off",
}
# Any number that nothing else in the database locks by.
_TABLES_LOCK = 0x64736870_63000002
_INSTALL = "the driver for PostgreSQL is absent: pip install 'dshpc[server,postgres]'"


class PostgresDatabase:
    """`store.sql.database.Database` in a database of a PostgreSQL server."""

    def __init__(self, url: sqlalchemy.URL, *, read_only: bool) -> None:
        self.name = shown(url)
        self._url = url
        try:
            self._engine = _engine(url)
        except ImportError as error:
            raise StoreUnusableError(self.name, _INSTALL) from error
        self.readers = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self.writers = self._engine.execution_options(
            isolation_level="READ COMMITTED", postgresql_readonly=read_only
        )

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Hold nothing: it is for any number of servers."""
        return contextlib.nullcontext()

    def prepare(self) -> None:
        """Look whether every text can be stored."""
        with self.readers.connect() as connection:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise StoreUnusableError(self.name, f"its encoding is {encoding}, not UTF8")

    @contextlib.contextmanager
    def changing_tables(self) -> Iterator[sqlalchemy.Connection]:
        """One transaction in which nobody else changes tables."""
        with self.writers.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TABLES_LOCK})")
            yield connection

    def follow(
        self,
        server_id: Callable[[], str],
        tell: Callable[[Collection[str] | None], None],
        tell_batches: Callable[[Collection[str]], None],
        clock: clock.Clock,
    ) -> contextlib.AbstractContextManager[None]:
        """Tell what other servers announce."""
        return notices.listening(connection_words(self._url), server_id, tell, tell_batches, clock)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def shown(url: sqlalchemy.URL) -> str:
    """Return how logs and errors call a database: without a password, wherever it stood."""
    host = url.host or url.query.get("host", "")
    plain = url.set(drivername="postgresql", host=str(host), query={})
    return plain.render_as_string(hide_password=True)


def connection_words(url: sqlalchemy.URL) -> Mapping[str, str]:
    """Return how the driver is told to connect; what the URL says counts more than the defaults."""
    _, named = url.get_dialect()().create_connect_args(url)
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    if "options" in named:
        options = f"{options} {named['options']}"
    return _CONNECTION | {key: str(value) for key, value in named.items()} | {"options": options}


def _engine(url: sqlalchemy.URL) -> sqlalchemy.Engine:
    made = sqlalchemy.create_engine(
        url.set(drivername=_DRIVER),
        # Values are what jobs are about, which no error and no log line may tell.
        hide_parameters=True,
        connect_args=connection_words(url),
        pool_size=_CONNECTIONS,
        max_overflow=_MORE_CONNECTIONS,
        pool_timeout=_CONNECTION_WAIT_SECONDS,
        pool_pre_ping=True,
        use_native_hstore=False,
    )
    sqlalchemy.event.listen(made, "handle_error", _hide_values)
    _allow_nul(made)
    return made


def _allow_nul(engine: sqlalchemy.Engine) -> None:
    """Put a mark for every NUL in a text: labels may hold one, and PostgreSQL takes none."""
    from psycopg.types import string  # noqa: PLC0415 (the driver is there only where it is used)

    class TextDumper(string.StrDumperUnknown):
        def dump(self, obj: str) -> bytes:
            return obj.replace("\0", "\N{REPLACEMENT CHARACTER}").encode()

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(driver_connection: "psycopg.Connection[Any]", _record: object) -> None:
        driver_connection.adapters.register_dumper(str, TextDumper)


def _hide_values(context: sqlalchemy.engine.ExceptionContext) -> None:
    """Keep the first line of what the database says; the second tells the row that it refused."""
    error: Any = context.original_exception
    what = getattr(getattr(error, "diag", None), "message_primary", None)
    if what is None:
        return
    error.args = (what,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {what}",)
