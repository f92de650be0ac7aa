"""Changes to the store, inside a transaction that `store.sql.store` holds."""

from collections.abc import Callable, Collection, Sequence

import sqlalchemy

from dshpc_server import clock
from dshpc_server.domain.job import Resources
from dshpc_server.store.port import Attempt, Claim, Ending, FileRecord, NewBatch, Report, Row
from dshpc_server.store.sql import accepting, cancelling, claiming, deleting, files, recording


class SqlWriter:
    """`store.port.Writer` for one work; remembers which attempts it made and moved."""

    def __init__(self, connection: sqlalchemy.Connection, clock: clock.Clock) -> None:
        self._connection = connection
        self._clock = clock
        self.changes: list[Attempt] = []

    def accept(self, batch: NewBatch) -> Sequence[Row]:
        """See the port."""
        rows, new = accepting.accept(self._connection, batch)
        self.changes += new
        return rows

    def claim(self, fits: Callable[[Resources], bool], limit: int) -> Sequence[Claim]:
        """See the port."""
        claims, changes = claiming.claim(self._connection, fits, limit)
        self.changes += changes
        return claims

    def record(self, reports: Sequence[Report]) -> Sequence[Attempt]:
        """See the port."""
        changes = recording.record(self._connection, reports)
        self.changes += changes
        return changes

    def cancel(
        self, job_ids: Collection[str], reason: str, end: Callable[[Attempt], Ending]
    ) -> Sequence[Attempt]:
        """See the port."""
        at = self._clock.now()
        newest, changes = cancelling.cancel(self._connection, job_ids, reason, end, at)
        self.changes += changes
        return newest

    def put_file(self, record: FileRecord) -> FileRecord:
        """See the port."""
        return files.put(self._connection, record)

    def delete_file(self, file_hash: str, without_output: Callable[[bytes], bytes]) -> bool:
        """See the port."""
        return deleting.delete_file(self._connection, file_hash, without_output)
