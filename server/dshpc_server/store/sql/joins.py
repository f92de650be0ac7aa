"""Which tables are asked together, and the conditions that several statements share."""

from collections.abc import Sequence

import sqlalchemy

from dshpc_server.store.sql import tables

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_rows = tables.batch_rows.c

NEWEST = tables.jobs.join(
    tables.attempts,
    (_attempts.job_id == _jobs.job_id) & (_attempts.number == _jobs.newest_attempt),
)
ANSWERING = tables.jobs.join(
    tables.attempts,
    (_attempts.job_id == _jobs.job_id) & (_attempts.number == _jobs.answering_attempt),
)
ATTEMPT_OF_JOB = tables.attempts.join(tables.jobs, _jobs.job_id == _attempts.job_id)
# A row shows that attempt of its chain which was not retried.
ROW_WITH_ATTEMPT = tables.batch_rows.outerjoin(
    tables.attempts,
    (_attempts.job_id == _rows.job_id)
    & (_attempts.chain == _rows.attempt)
    & sqlalchemy.text("attempts.is_retried = 0"),
)
OF_ROW = ROW_WITH_ATTEMPT.outerjoin(tables.jobs, _jobs.job_id == _attempts.job_id)

# Of a large batch of which rows are still to be accepted nothing is shown.
IS_SHOWN = tables.batches.c.staged_rows == 0

KEYS: sqlalchemy.BindParameter[Sequence[str]] = sqlalchemy.bindparam("keys", expanding=True)
INDEXES: sqlalchemy.BindParameter[Sequence[int]] = sqlalchemy.bindparam("indexes", expanding=True)
# Written out, not as parameters: only so are the partial indexes on them used.
WAITS = sqlalchemy.text(tables.waits("batch_rows."))
NOT_ENDED = sqlalchemy.text("attempts.ended_at IS NULL")
WITH_OUTPUT = sqlalchemy.text("attempts.status = 'COMPLETED' AND attempts.output_hash <> ''")
WITH_KEPT_OUTPUT = sqlalchemy.text(
    "attempts.status = 'COMPLETED' AND attempts.output_hash <> '' AND attempts.output_is_inline = 0"
)
