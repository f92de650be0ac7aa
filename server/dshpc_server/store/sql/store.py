"""The SQL store: opened as one server, written to in group commits, closed."""

import contextlib
import pathlib
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Self, TypeVar

import sqlalchemy

from dshpc_server import clock
from dshpc_server.store.port import StoreUnusableError, Writer
from dshpc_server.store.records import Commit
from dshpc_server.store.sql import (
    database,
    database_clock,
    deployment,
    migrate,
    notices,
    reader,
    servers,
    stamps,
    transactions,
    writer,
)

T = TypeVar("T")
LEASE_SECONDS = 15.0
"""How long a server may be silent before others take its attempts over."""
_SYSTEM_CLOCK = clock.SystemClock()


class SqlStore(reader.SqlReader):
    """`store.port.Store` in one database, for one server; `open` makes one."""

    def __init__(
        self,
        opened: database.Database,
        clock: clock.Clock,
        held: contextlib.ExitStack,
        *,
        scope: str = "",
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        super().__init__(opened.readers, clock, server_id="")
        self._database = opened
        self._writers = opened.writers
        self._held = held
        self._scope = scope
        self._lease_seconds = lease_seconds
        self._stamps = stamps.Stamps(clock)

    @classmethod
    def open(
        cls,
        url: str | pathlib.Path,
        *,
        clock: clock.Clock = _SYSTEM_CLOCK,
        read_only: bool = False,
        scope: str = "",
        lease_seconds: float = LEASE_SECONDS,
    ) -> Self:
        """Open a store, made or brought up to date as needed; a path names an SQLite file.

        Nobody else can open an SQLite file for writing until it is closed. `read_only` takes no
        lock, changes nothing and is no server: for looking at a store that servers may be using.
        `scope` says where this server's attempts can be accounted for. The clock tells when
        something was cancelled, and in SQLite what the time is; of all else the caller says when
        it was. Raises StoreInUseError, StoreUnusableError, or ValueError for a URL that names no
        store.
        """
        parsed = database.parse(url)
        found = database.connect(parsed, read_only=read_only)
        with contextlib.ExitStack() as held, _usable(found.name):
            if not read_only:
                held.enter_context(found.alone())
            held.callback(found.close)
            _make_current(found, read_only=read_only)
            opened = cls(
                found, clock, contextlib.ExitStack(), scope=scope, lease_seconds=lease_seconds
            )
            if not read_only:
                opened._join()
            opened._held = held.pop_all()
            return opened

    @property
    def name(self) -> str:
        """See the port."""
        return self._engine.dialect.name

    @property
    def address(self) -> str:
        """See the port."""
        return self._database.name

    @property
    def server_id(self) -> str:
        """See the port."""
        return self._server_id

    @property
    def is_shared(self) -> bool:
        """See the port."""
        return self._engine.dialect.name != "sqlite"

    @property
    def lease_seconds(self) -> float:
        """See the port."""
        return self._lease_seconds

    def renew(self) -> None:
        """See the port."""
        if not self.is_shared:
            return
        with self._availability.writing(), self._writers.begin() as connection:
            until = self._now(connection) + servers.microseconds(self._lease_seconds)
            servers.renew(connection, self._server_id, until)

    def rejoin(self) -> None:
        """See the port."""
        with self._availability.writing():
            self._join()

    def leave(self) -> None:
        """See the port."""
        with self._availability.writing(), self._writers.begin() as connection:
            servers.leave(connection, self._server_id)

    def find_deployment_id(self) -> str | None:
        """See the port."""
        with self._asking() as connection:
            return deployment.find(connection)

    def keep_deployment_id(self, deployment_id: str) -> str:
        """See the port."""
        with self._availability.writing(), self._writers.begin() as connection:
            return deployment.keep(connection, deployment_id)

    def is_new(self) -> bool:
        """See the port."""
        with self._asking() as connection:
            return deployment.is_new(connection)

    def lies_in(self, folder: pathlib.Path) -> bool:
        """See the port."""
        return deployment.lies_in(self._engine.url, folder)

    def follow(
        self,
        tell: Callable[[Collection[str] | None], None],
        tell_batches: Callable[[Collection[str]], None] = notices.ignore,
    ) -> contextlib.AbstractContextManager[None]:
        """See the port."""
        return self._database.follow(lambda: self._server_id, tell, tell_batches, self._clock)

    def write(self, works: Sequence[Callable[[Writer], T]]) -> Commit[T]:
        """See the port."""
        group: transactions.GroupCommit[T] = transactions.GroupCommit(
            self._writers, self._writing, self._announce, self._availability
        )
        return group.run(works)

    def close(self) -> None:
        """See the port."""
        self._held.close()

    def _join(self) -> None:
        """Begin the record of a new server."""
        server_id = uuid.uuid4().hex
        with self._writers.begin() as connection:
            if not self.is_shared:
                servers.clear(connection)
            lease = servers.microseconds(self._lease_seconds) if self.is_shared else None
            servers.join(connection, server_id, self._scope, self._now(connection), lease)
        self._server_id = server_id

    def _writing(self, connection: sqlalchemy.Connection) -> Callable[[], writer.SqlWriter]:
        stamp = stamps.Stamp(connection, self._stamps)
        return lambda: writer.SqlWriter(connection, self._clock, self._server_id, stamp)

    def _announce(
        self,
        connection: sqlalchemy.Connection,
        job_ids: Collection[str],
        batch_ids: Collection[str],
    ) -> None:
        notices.announce(connection, self._server_id, job_ids, batch_ids)

    def _now(self, connection: sqlalchemy.Connection) -> int:
        return database_clock.now(connection, self._clock)


def _make_current(opened: database.Database, *, read_only: bool) -> None:
    with opened.readers.connect() as connection:
        current = migrate.is_current(connection, store=opened.name)
    if read_only:
        if not current:
            raise StoreUnusableError(opened.name, "its tables are of an older version")
        return
    opened.prepare()
    if not current:
        with opened.changing_tables() as connection:
            # Another server may have been quicker.
            if not migrate.is_current(connection, store=opened.name):
                migrate.upgrade(connection)


@contextlib.contextmanager
def _usable(name: str) -> Iterator[None]:
    """Say what is wrong with what cannot be worked with."""
    try:
        yield
    except sqlalchemy.exc.DatabaseError as error:
        raise StoreUnusableError(name, str(error.orig).strip()) from error
    except OSError as error:
        raise StoreUnusableError(name, error.strerror or str(error)) from error
