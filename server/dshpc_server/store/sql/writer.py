"""Changes to the store, inside a transaction that `store.sql.store` holds."""

from collections.abc import Callable, Sequence

import sqlalchemy

from dshpc_server.domain.job import JobStatus, Resources
from dshpc_server.store.port import Attempt, Claim, FileRecord, NewBatch, Report, Row
from dshpc_server.store.sql import accepting, claiming, files, recording


class SqlWriter:
    """`store.port.Writer` for one work; remembers which attempts it made and moved."""

    def __init__(self, connection: sqlalchemy.Connection) -> None:
        self._connection = connection
        self.changes: list[Attempt] = []

    def accept(self, batch: NewBatch) -> Sequence[Row]:
        """See the port."""
        rows, new = accepting.accept(self._connection, batch)
        self.changes += new
        return rows

    def claim(self, fits: Callable[[Resources], bool], limit: int) -> Sequence[Claim]:
        """See the port."""
        claims = claiming.claim(self._connection, fits, limit)
        self.changes += map(_claimed, claims)
        return claims

    def record(self, reports: Sequence[Report]) -> Sequence[Attempt]:
        """See the port."""
        changes = recording.record(self._connection, reports)
        self.changes += changes
        return changes

    def put_file(self, record: FileRecord) -> FileRecord:
        """See the port."""
        return files.put(self._connection, record)


def _claimed(claim: Claim) -> Attempt:
    return Attempt(
        key=claim.key,
        status=JobStatus.CONFIGURING,
        revision=claim.revision,
        function_hash=claim.spec.function_hash,
        created_at=claim.created_at,
        started_at=None,
        ended_at=None,
        result=None,
    )
