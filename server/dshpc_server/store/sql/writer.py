"""Changes to the store, inside a transaction that `store.sql.store` holds."""

import dataclasses
import datetime
from collections.abc import Callable, Collection, Sequence

import sqlalchemy

from dshpc_server import clock
from dshpc_server.domain import queue
from dshpc_server.store import records
from dshpc_server.store.records import (
    ActiveAttempt,
    Attempt,
    BatchTally,
    ChangedRows,
    Claim,
    Claims,
    Ending,
    FileRecord,
    NewBatch,
    Report,
    Row,
    StagedPiece,
    Withdrawal,
    Withdrawn,
)
from dshpc_server.store.sql import (
    accepting,
    batches,
    cancelling,
    claiming,
    database_clock,
    deleting,
    files,
    queueing,
    reader,
    recording,
    releasing,
    servers,
    settling,
    staging,
    stamps,
    undecided,
    withdrawing,
)
from dshpc_server.store.undecided import Settled, Skip, Upstreams


class SqlWriter:
    """`store.port.Writer` for one work of one server."""

    def __init__(
        self,
        connection: sqlalchemy.Connection,
        clock: clock.Clock,
        server_id: str,
        stamp: stamps.Stamp,
    ) -> None:
        """`stamp` is that of the transaction."""
        self._connection = connection
        self._stamp = stamp
        self._clock = clock
        self._server_id = server_id
        self.changes: list[Attempt] = []
        """The attempts that were made or moved."""
        self.changed_rows: list[ChangedRows] = []
        """The rows of batches that were changed themselves."""
        self.touched: set[str] = set()
        """The jobs of which an attempt was changed otherwise than in its status."""

    def accept(self, batch: NewBatch) -> Sequence[Row]:
        """See the port."""
        staging.check_staged(self._connection, batch, self._server_id)
        rows, new, moved = accepting.accept(self._connection, batch, self._stamp())
        self.changes += new
        self.touched.update(moved)
        return rows

    def settle(
        self,
        upstreams: Upstreams | None,
        ending: Callable[[Skip], bytes],
        *,
        within: str | None = None,
    ) -> Settled:
        """See the port."""
        skipped, has_more = settling.settle(
            self._connection, upstreams, ending, self._clock.now(), self._stamp
        )
        self.changed_rows += [
            ChangedRows(batch_id=batch_id, indexes=indexes) for batch_id, indexes in skipped.items()
        ]
        ready = undecided.ready(self._connection, within, settling.READY_ROWS)
        return Settled(skipped=skipped, ready=ready, has_more=has_more)

    def release(self, batch: NewBatch) -> Sequence[Row]:
        """See the port."""
        rows, new, moved = releasing.release(self._connection, batch, self._stamp)
        self.changes += new
        self.touched.update(moved)
        if rows:
            indexes = [row.index for row in rows]
            self.changed_rows.append(ChangedRows(batch_id=batch.batch_id, indexes=indexes))
        return rows

    def stage(self, pieces: Sequence[StagedPiece]) -> None:
        """See the port."""
        staging.stage(self._connection, pieces, self._server_id)

    def accept_piece(self, batch: NewBatch, number: int) -> Sequence[Row] | None:
        """See the port."""
        if not staging.take(self._connection, batch, number):
            return None
        rows, new, moved = accepting.accept_piece(self._connection, batch, self._stamp())
        self.changes += new
        self.touched.update(moved)
        return rows

    def unstage(self, batch_id: str) -> bool:
        """See the port."""
        return staging.unstage(self._connection, batch_id)

    def claim(
        self,
        judge: Callable[[Claim], queue.Verdict],
        limit: int,
        ageing: queue.Ageing = records.USUAL_AGEING,
    ) -> Claims:
        """See the port."""
        claims, changes = claiming.claim(
            self._connection, judge, limit, ageing, self._server_id, self._now(), self._stamp
        )
        self.changes += changes
        return claims

    def set_priority(self, batch_id: str, priority: int) -> bool:
        """See the port."""
        moved = queueing.set_priority(self._connection, batch_id, priority, self._now())
        self.touched.update(moved or ())
        return moved is not None

    def record(self, reports: Sequence[Report]) -> Sequence[Attempt]:
        """See the port."""
        changes = recording.record(
            self._connection, reports, self._server_id, self._now, self._stamp
        )
        self.changes += changes
        return changes

    def take_over(
        self, dead: Collection[str], *, also_expired: bool = True
    ) -> Sequence[ActiveAttempt]:
        """See the port."""
        expired_at = self._now() if also_expired else None
        before = servers.owners(self._connection)
        servers.take_over(self._connection, self._server_id, dead, expired_at)
        return [
            dataclasses.replace(attempt, taken_from=before.get(attempt.claim.key, ""))
            for attempt in reader.active_attempts(self._connection, self._server_id)
            if before.get(attempt.claim.key) != self._server_id
        ]

    def cancel(
        self, job_ids: Collection[str], reason: str, end: Callable[[Attempt], Ending]
    ) -> Sequence[Attempt]:
        """See the port."""
        newest, changes = cancelling.cancel(
            self._connection,
            job_ids,
            reason,
            end,
            self._clock.now(),
            self._server_id,
            self._now,
            stamp=self._stamp,
        )
        self.changes += changes
        self.touched.update(job_ids)
        return newest

    def withdraw(
        self,
        asked: Withdrawal,
        end: Callable[[Attempt], Ending],
        end_row: Callable[[Attempt | None, datetime.datetime], bytes],
    ) -> Withdrawn | None:
        """See the port."""
        done = withdrawing.withdraw(
            self._connection,
            asked,
            withdrawing.Endings(attempt=end, row=end_row, at=self._clock.now()),
            self._server_id,
            self._now,
            stamp=self._stamp,
        )
        if done is None:
            return None
        self.changes += done.changes
        self.touched.update(done.job_ids)
        if done.rows.indexes:
            self.changed_rows.append(done.rows)
        return done.withdrawn

    def keep_tally(self, batch_id: str, tally: BatchTally) -> None:
        """See the port."""
        batches.keep_tally(self._connection, batch_id, tally)

    def put_file(self, record: FileRecord) -> FileRecord:
        """See the port."""
        return files.put(self._connection, record)

    def delete_file(self, file_hash: str, without_output: Callable[[bytes], bytes]) -> bool:
        """See the port."""
        at = self._clock.now()
        return deleting.delete_file(self._connection, file_hash, without_output, at)

    def forget_file(self, file_hash: str) -> bool:
        """See the port."""
        return deleting.forget_file(self._connection, file_hash)

    def _now(self) -> int:
        return database_clock.now(self._connection, self._clock)
