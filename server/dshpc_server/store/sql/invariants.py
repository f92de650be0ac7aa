"""A store looked over: `store.inspection.Inspection` in SQL, beside what every store can do.

Opened `read_only` it changes nothing and takes no lock; else it is a server, with the store for
itself where that is for one server only. What is sorted or joined goes to disk, not to memory: the
store may be large.
"""

import contextlib
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.store.inspection import (
    Rule,
    Which,
)
from dshpc_server.store.port import StoreUnusableError
from dshpc_server.store.sql import (
    database,
    deployment,
    invariants_pages,
    invariants_rules,
    invariants_schema,
    migrate,
    tables,
)

_files = tables.files.c
_VERSION = f"SELECT version_num FROM {migrate.VERSION_TABLE}"  # noqa: S608 (own name)


def version(url: str | pathlib.Path) -> str | None:
    """Return the version of a store's tables; None where there are none.

    Nothing is changed. Raises StoreUnusableError when it cannot be told.
    """
    found = database.connect(database.parse(url), read_only=True)
    try:
        with contextlib.closing(found), found.readers.connect() as connection:
            # Raises for what is no store of this service, or a newer one.
            if not migrate.is_current(connection, store=found.name):
                if not sqlalchemy.inspect(connection).get_table_names():
                    return None
                return str(connection.exec_driver_sql(_VERSION).scalar_one())
            return migrate.HEAD
    except sqlalchemy.exc.DatabaseError as error:
        raise StoreUnusableError(found.name, str(error.orig)) from error


def deployment_id(url: str | pathlib.Path) -> str | None:
    """Return the deployment_id of a store of any version; None where it has none."""
    found = database.connect(database.parse(url), read_only=True)
    try:
        with contextlib.closing(found), found.readers.connect() as connection:
            is_kept = sqlalchemy.inspect(connection).has_table(tables.deployment.name)
            return deployment.find(connection) if is_kept else None
    except sqlalchemy.exc.DatabaseError as error:
        raise StoreUnusableError(found.name, str(error.orig)) from error


class SqlInspection(invariants_pages.SqlPages):
    """A store that can be looked over; `open` makes one."""

    max_retries: int = 0
    """What `retries_are_bounded` goes by."""
    gone: Callable[[Collection[str]], Collection[str]] = staticmethod(lambda _: ())
    """Which of these servers are known to be dead, whatever their lease says."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 (the store's own)
        super().__init__(*arguments, **named)
        if not self.is_shared:
            sqlalchemy.event.listen(self._engine, "connect", _use_disk)
            self._engine.dispose()

    @property
    def rules(self) -> Mapping[str, Rule]:
        """See the port."""
        by_sql = {name: each.rule for name, each in invariants_rules.SQL_RULES.items()}
        return {**invariants_schema.RULES, **by_sql}

    def breaches(self, name: str) -> Sequence[Which]:
        """See the port."""
        is_about_servers = name in invariants_rules.ABOUT_SERVERS
        dead = self._dead() if is_about_servers else ()
        with self._asking() as connection:
            if name in invariants_schema.RULES:
                return invariants_schema.breaches(connection, name)
            values = {
                "max_retries": self.max_retries,
                "now": self._now(connection),
                "dead": sorted(dead),
            }
            statement = invariants_rules.SQL_RULES[name].statement
            found = connection.execute(statement, values).mappings()
            return [tuple((str(kind), name) for kind, name in row.items()) for row in found]

    def make_index(self, name: str) -> bool:
        """Make an index that is missing; answer whether that could be done."""
        try:
            with self._availability.writing(), self._writers.begin() as connection:
                invariants_schema.make_index(connection, name)
        except sqlalchemy.exc.IntegrityError:
            return False
        return True

    def correct_size(self, file_hash: str, size_bytes: int) -> None:
        """Put right what is recorded of content that was measured."""
        statement = (
            sqlalchemy.update(tables.files)
            .where(_files.file_hash == file_hash)
            .values(size_bytes=size_bytes)
        )
        with self._availability.writing(), self._writers.begin() as connection:
            connection.execute(statement)

    def _dead(self) -> Collection[str]:
        found = [server.server_id for server in self.find_servers()]
        return {self._server_id, *self.gone(found)}


def _use_disk(driver_connection: Any, _record: object) -> None:  # noqa: ANN401 (any driver's)
    driver_connection.execute("PRAGMA temp_store = FILE")
