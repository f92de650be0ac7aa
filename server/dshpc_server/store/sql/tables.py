"""The tables: what the service remembers, and the rules that the database itself holds.

Promise: a state that `store.port` calls impossible cannot be written, by this program or by hand.
Keys are natural: a job is its content address, an attempt is (job, number). Moments are integers,
microseconds since 1970 in UTC, equal and comparable in every database. Every change here needs a
migration; a test compares the two.
"""

from collections.abc import Iterable

import sqlalchemy
from sqlalchemy import BigInteger, Column, Double, ForeignKey, Integer, LargeBinary, Text

from dshpc_server.domain import dependencies as rules
from dshpc_server.domain import job, lookup
from dshpc_server.domain.job import JobStatus, Outcome

metadata = sqlalchemy.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Rows of these outcomes name no job; REJECTED ones say why in `rejection`.
_WITHOUT_JOB = (Outcome.REJECTED, Outcome.NOT_FOUND, Outcome.PENDING, Outcome.WITHHELD)
# Rows of these wait for an attempt, or did; the others were answered when they were looked up.
WAITING = (Outcome.SUBMITTED, Outcome.RESUBMITTED, Outcome.FOUND_IN_PROGRESS)
# An earlier attempt that a row replaced or kept; a row that waits for what replaces one tells it
# as well.
_WITH_OLD_STATUS = (Outcome.RESUBMITTED, Outcome.FAILURE_KEPT)
_MAY_HAVE_OLD_STATUS = (Outcome.FOUND_IN_PROGRESS, *_WITH_OLD_STATUS)


def _one_of(column: str, words: Iterable[str]) -> str:
    """Return SQL that holds for these words, the first ones soonest.

    A chain of OR, since SQLite builds a table for an IN list anew for every row inserted: 4 us a
    row against 0.1.
    """
    return "(" + " OR ".join(f"{column} = '{word}'" for word in words) + ")"


def _in_order(statuses: Iterable[JobStatus]) -> list[JobStatus]:
    return [status for status in JobStatus if status in statuses]


# Whose these are: of nobody yet.
_UNCLAIMED = _in_order({JobStatus.PENDING, JobStatus.BLOCKED})
_CLAIMED = _in_order(job.IN_PROGRESS - {JobStatus.PENDING, JobStatus.BLOCKED})
# How an attempt ends that another one can make good.
_NOT_COMPLETED = _in_order(job.TERMINAL - {JobStatus.COMPLETED})
_FAILED = _in_order(job.FAILED)


# In SQLite these stay rowid tables, with an index for the key: half the time of tables that are
# clustered by keys as wide as these (WITHOUT ROWID).

servers = sqlalchemy.Table(
    "servers",
    metadata,
    # Made anew at each start.
    Column("server_id", Text, primary_key=True),
    # Where the attempts of its engine can be accounted for.
    Column("scope", Text, nullable=False),
    # Both by the database's clock. A store for one server knows no lease: its lock says all.
    Column("joined_at", BigInteger, nullable=False),
    Column("lease_expires_at", BigInteger),
    sqlalchemy.CheckConstraint("server_id <> ''", name="server_id_is_one"),
)

deployment = sqlalchemy.Table(
    "deployment",
    metadata,
    # There is one row, or none yet.
    Column("is_only", Integer, primary_key=True, autoincrement=False),
    # The same as in the data folder.
    Column("deployment_id", Text, nullable=False),
    sqlalchemy.CheckConstraint("is_only = 1", name="is_only_one"),
    sqlalchemy.CheckConstraint("length(deployment_id) = 32", name="deployment_id_is_one"),
)

jobs = sqlalchemy.Table(
    "jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    # As it was first submitted; not part of the identity.
    Column("method_name", Text, nullable=False),
    Column("function_hash", Text, nullable=False),
    # A JSON object: content hash by input name.
    Column("inputs", Text, nullable=False),
    # Canonical JSON (RFC 8785).
    Column("parameters_json", Text, nullable=False),
    # The number of the attempt that speaks for the job.
    Column("newest_attempt", Integer, nullable=False),
    # The number of the attempt that look-ups find; NULL when there is none.
    Column("answering_attempt", Integer),
    # Failed attempts count from this number on.
    Column("counted_from", Integer, nullable=False, server_default="1"),
    sqlalchemy.CheckConstraint("length(job_id) = 64", name="job_id_is_a_hash"),
    sqlalchemy.CheckConstraint("newest_attempt >= 1", name="newest_attempt_from_1"),
    sqlalchemy.CheckConstraint(
        "answering_attempt IS NULL OR answering_attempt BETWEEN 1 AND newest_attempt",
        name="answering_attempt_is_one",
    ),
    sqlalchemy.CheckConstraint(
        "counted_from BETWEEN 1 AND newest_attempt", name="counted_from_is_an_attempt"
    ),
)

attempts = sqlalchemy.Table(
    "attempts",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id"), primary_key=True),
    # From 1; the fencing token.
    Column("number", Integer, primary_key=True),
    Column("status", Text, nullable=False),
    # Counts the status changes of the job over all its attempts, as of this one's last change.
    Column("revision", BigInteger, nullable=False),
    Column("cpus", Integer, nullable=False),
    # 0 = not limited.
    Column("memory_bytes", BigInteger, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    # How the failed attempt before it ended, that it was submitted to make good.
    Column("replaced", Text),
    # The highest of those who wait for it.
    Column("priority", Integer, nullable=False, server_default="0"),
    # Its turn among those of its priority; see `domain.queue`.
    Column("turn", BigInteger, nullable=False, server_default="0"),
    # 1: for those who asked for it alone, no answer to later look-ups.
    Column("is_bypass", Integer, nullable=False, server_default="0"),
    # The number of the first of the attempts that follow on each other by retries.
    Column("chain", Integer, nullable=False),
    # 1: ended, and the next attempt of the chain stands for it.
    Column("is_retried", Integer, nullable=False, server_default="0"),
    # The server that claimed it.
    Column("owner", Text),
    Column("created_at", BigInteger, nullable=False),
    # When the batch that submitted the chain was accepted; of one priority the queue goes by
    # (turn, queued_at, queue_index, job_id), and a retry has the place of the attempt it retries.
    Column("queued_at", BigInteger, nullable=False),
    # The row's index in that batch.
    Column("queue_index", Integer, nullable=False),
    # Not claimed before, by the database's clock; 0 for all but retries.
    Column("due_at", BigInteger, nullable=False, server_default="0"),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    # When it was last changed, by the store's clock: never earlier than what changed before.
    Column("changed_at", BigInteger, nullable=False, server_default="0"),
    Column("exit_code", Integer),
    Column("signal", Integer),
    # Why it ended as it did, for people.
    Column("reason", Text, nullable=False, server_default=""),
    # Empty when there is no output.
    Column("output_hash", Text, nullable=False, server_default=""),
    Column("output_size_bytes", BigInteger, nullable=False, server_default="0"),
    # 1: `result` holds the whole output; 0: it is in the content store, or there is none.
    Column("output_is_inline", Integer, nullable=False, server_default="0"),
    # Why it was asked to stop; NULL when it was not.
    Column("cancel_reason", Text),
    # The engine's own name for it; empty until known.
    Column("engine_job_id", Text, nullable=False, server_default=""),
    # The host it ran on; empty until known.
    Column("node", Text, nullable=False, server_default=""),
    # What it used; NULL where nobody saw it.
    Column("cpu_milliseconds", BigInteger),
    Column("peak_memory_bytes", BigInteger),
    # How long it waited in the engine's own queue.
    Column("queue_milliseconds", BigInteger),
    # How many shared its task of the engine's scheduler, and why they were taken for short; NULL
    # when it has one for itself.
    Column("packed_jobs", Integer),
    Column("packed_by", Text),
    # The encoded answer, opaque here. It and the next come last: what is before them is read
    # without walking over them.
    Column("result", LargeBinary),
    # The last of what the method wrote to stderr.
    Column("stderr_tail", Text, nullable=False, server_default=""),
    sqlalchemy.CheckConstraint(
        f"(ended_at IS NULL AND {_one_of('status', _in_order(job.IN_PROGRESS))})"
        f" OR (ended_at IS NOT NULL AND {_one_of('status', _in_order(job.TERMINAL))})",
        name="ended_when_terminal",
    ),
    sqlalchemy.CheckConstraint("(ended_at IS NULL) = (result IS NULL)", name="result_when_ended"),
    sqlalchemy.CheckConstraint("number >= 1", name="number_from_1"),
    sqlalchemy.CheckConstraint("revision >= number", name="revision_rises"),
    sqlalchemy.CheckConstraint("cpus >= 1", name="cpus_from_1"),
    sqlalchemy.CheckConstraint(
        f"replaced IS NULL OR (number > 1 AND {_one_of('replaced', _NOT_COMPLETED)})",
        name="replaced_what_failed",
    ),
    sqlalchemy.CheckConstraint("is_bypass = 0 OR is_bypass = 1", name="is_bypass_or_not"),
    sqlalchemy.CheckConstraint("chain BETWEEN 1 AND number", name="chain_began_before"),
    sqlalchemy.CheckConstraint(
        f"is_retried = 0 OR (is_retried = 1 AND {_one_of('status', _FAILED)})",
        name="is_retried_when_failed",
    ),
    sqlalchemy.CheckConstraint(
        f"(owner IS NULL AND NOT {_one_of('status', _CLAIMED)})"
        f" OR (owner IS NOT NULL AND NOT {_one_of('status', _UNCLAIMED)})",
        name="owner_when_claimed",
    ),
    sqlalchemy.CheckConstraint(
        "output_is_inline = 0 OR (output_is_inline = 1 AND output_hash <> '')",
        name="output_is_inline_or_not",
    ),
    # What is NULL is let through.
    sqlalchemy.CheckConstraint(
        "cpu_milliseconds >= 0 AND peak_memory_bytes >= 0 AND queue_milliseconds >= 0",
        name="usage_from_0",
    ),
    sqlalchemy.CheckConstraint(
        "(packed_jobs IS NULL AND packed_by IS NULL) OR (packed_jobs IS NOT NULL"
        f" AND packed_by IS NOT NULL AND packed_jobs >= 2 AND {_one_of('packed_by', job.Basis)})",
        name="packed_with_others_or_not",
    ),
)

# At most one attempt of a job has not ended.
sqlalchemy.Index(
    "uq_attempts_active",
    attempts.c.job_id,
    unique=True,
    sqlite_where=sqlalchemy.text("ended_at IS NULL"),
    postgresql_where=sqlalchemy.text("ended_at IS NULL"),
)
# The queue: by priority, and of each in its order.
sqlalchemy.Index(
    "ix_attempts_queue",
    attempts.c.priority,
    attempts.c.turn,
    attempts.c.queued_at,
    attempts.c.queue_index,
    attempts.c.job_id,
    sqlite_where=sqlalchemy.text("status = 'PENDING'"),
    postgresql_where=sqlalchemy.text("status = 'PENDING'"),
)
# The retries that wait.
sqlalchemy.Index(
    "ix_attempts_due",
    attempts.c.due_at,
    sqlite_where=sqlalchemy.text("status = 'PENDING' AND due_at > 0"),
    postgresql_where=sqlalchemy.text("status = 'PENDING' AND due_at > 0"),
)
# Of at most one attempt of a chain nothing came after it.
sqlalchemy.Index(
    "uq_attempts_chain",
    attempts.c.job_id,
    attempts.c.chain,
    unique=True,
    sqlite_where=sqlalchemy.text("is_retried = 0 AND chain < number"),
    postgresql_where=sqlalchemy.text("is_retried = 0 AND chain < number"),
)
# Which attempt has this output, and where.
sqlalchemy.Index(
    "ix_attempts_output",
    attempts.c.output_hash,
    attempts.c.output_is_inline,
    sqlite_where=sqlalchemy.text("status = 'COMPLETED' AND output_hash <> ''"),
    postgresql_where=sqlalchemy.text("status = 'COMPLETED' AND output_hash <> ''"),
)

# Which output in the content store a job has: asked with every job of every batch, and answered
# without a look at the attempt.
_KEPT_OUTPUT = "status = 'COMPLETED' AND output_hash <> '' AND output_is_inline = 0"
sqlalchemy.Index(
    "ix_attempts_kept_output",
    attempts.c.job_id,
    attempts.c.number,
    attempts.c.output_hash,
    sqlite_where=sqlalchemy.text(_KEPT_OUTPUT),
    postgresql_where=sqlalchemy.text(_KEPT_OUTPUT),
)
# Listed, the newest first. Those of a batch go by their jobs, as the pieces of a large one do: a
# piece is put into few pages of it.
sqlalchemy.Index("ix_attempts_listed", attempts.c.created_at, attempts.c.job_id)

batches = sqlalchemy.Table(
    "batches",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("row_count", Integer, nullable=False),
    # How many of its rows are still staged; until there are none the batch is not shown.
    Column("staged_rows", Integer, nullable=False, server_default="0"),
    # Of a large batch: the turn with which it began in each class of the queue, as JSON; NULL
    # before a piece of it has come to one.
    Column("first_turns", Text),
    # Of rows that have none of their own.
    Column("priority", Integer, nullable=False, server_default="0"),
    # Once so many jobs have failed the rest is cancelled; 0 = never.
    Column("max_failures", Integer, nullable=False, server_default="0"),
    # Why it was cancelled as a whole; NULL when it was not.
    Column("cancel_reason", Text),
    # The client's name for the request, and a checksum of what else it asked.
    Column("request_id", Text),
    Column("request_hash", Text),
    # When its last row ended, and how many rows were what by then, as JSON; NULL until that was
    # seen.
    Column("ended_at", BigInteger),
    Column("tally", Text),
    sqlalchemy.CheckConstraint(
        f"priority BETWEEN {job.LOWEST_PRIORITY} AND {job.HIGHEST_PRIORITY}",
        name="priority_within_bounds",
    ),
    sqlalchemy.CheckConstraint(
        "staged_rows BETWEEN 0 AND row_count", name="staged_rows_are_of_the_batch"
    ),
    sqlalchemy.CheckConstraint("max_failures >= 0", name="max_failures_from_0"),
    sqlalchemy.CheckConstraint(
        "(request_id IS NULL) = (request_hash IS NULL)", name="request_hash_when_named"
    ),
    sqlalchemy.CheckConstraint("(ended_at IS NULL) = (tally IS NULL)", name="tally_when_ended"),
)
sqlalchemy.Index(
    "uq_batches_request",
    batches.c.request_id,
    unique=True,
    sqlite_where=sqlalchemy.text("request_id IS NOT NULL"),
    postgresql_where=sqlalchemy.text("request_id IS NOT NULL"),
)
# Those with a limit of failures that it may yet reach: few at any time.
LIMITED = "max_failures > 0 AND cancel_reason IS NULL AND tally IS NULL"
sqlalchemy.Index(
    "ix_batches_limited",
    batches.c.batch_id,
    sqlite_where=sqlalchemy.text(LIMITED),
    postgresql_where=sqlalchemy.text(LIMITED),
)
# Listed, the newest first.
sqlalchemy.Index("ix_batches_listed", batches.c.created_at, batches.c.batch_id)

batch_rows = sqlalchemy.Table(
    "batch_rows",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.batch_id"), primary_key=True),
    # Position in the request, from 0.
    Column("row_index", Integer, primary_key=True),
    Column("outcome", Text, nullable=False),
    # How the earlier attempt ended, when the row replaced or kept one, or waits for what did.
    Column("old_status", Text),
    # Why an earlier failure is the answer.
    Column("kept", Text),
    # Its own priority; NULL when it has the batch's.
    Column("priority", Integer),
    # How and when the row ended by itself, whatever becomes of its attempt: CANCELLED when it was
    # withdrawn and the run goes on for others, and what was WITHHELD. Else NULL.
    Column("ended_as", Text),
    Column("ended_at", BigInteger),
    # When the row itself was last changed; see attempts.changed_at.
    Column("changed_at", BigInteger, nullable=False, server_default="0"),
    # The chain of attempts that answers the row, for good; NULL when the row names no job.
    Column("job_id", Text),
    Column("attempt", Integer),
    # The part of the answer that never changes, encoded; opaque here.
    Column("head", LargeBinary, nullable=False),
    # Why the row names no job, encoded; opaque here.
    Column("rejection", LargeBinary),
    # What an end of the row itself is answered with, encoded; opaque here.
    Column("ending", LargeBinary),
    # The config of a row that names no job, encoded; opaque here.
    Column("config", LargeBinary),
    # What a row that names no job comes after, as JSON; NULL for nothing. See `undecided`.
    Column("comes_after", Text),
    sqlalchemy.CheckConstraint(
        "(job_id IS NOT NULL AND attempt IS NOT NULL AND rejection IS NULL AND "
        + _one_of("outcome", (outcome for outcome in Outcome if outcome not in _WITHOUT_JOB))
        + ") OR (job_id IS NULL AND attempt IS NULL AND ((rejection IS NULL AND"
        " (outcome = 'NOT_FOUND' OR outcome = 'PENDING' OR outcome = 'WITHHELD'))"
        " OR (rejection IS NOT NULL AND outcome = 'REJECTED')))",
        name="attempt_or_none",
    ),
    sqlalchemy.CheckConstraint(
        "(ended_as IS NULL AND ended_at IS NULL AND ending IS NULL AND outcome <> 'WITHHELD')"
        " OR (ended_as IS NOT NULL AND ended_at IS NOT NULL AND ending IS NOT NULL AND"
        " ((outcome = 'WITHHELD' AND (ended_as = 'CANCELLED' OR ended_as = 'SKIPPED'))"
        f" OR (ended_as = 'CANCELLED' AND {_one_of('outcome', WAITING)})))",
        name="ended_by_itself_or_not",
    ),
    sqlalchemy.CheckConstraint(
        f"priority BETWEEN {job.LOWEST_PRIORITY} AND {job.HIGHEST_PRIORITY}",
        name="priority_within_bounds",
    ),
    sqlalchemy.CheckConstraint(
        f"(old_status IS NULL AND NOT {_one_of('outcome', _WITH_OLD_STATUS)})"
        f" OR (old_status IS NOT NULL AND {_one_of('outcome', _MAY_HAVE_OLD_STATUS)}"
        f" AND {_one_of('old_status', _NOT_COMPLETED)})",
        name="old_status_when_replaced_or_kept",
    ),
    sqlalchemy.CheckConstraint(
        "(kept IS NULL AND outcome <> 'FAILURE_KEPT')"
        f" OR (kept IS NOT NULL AND outcome = 'FAILURE_KEPT' AND {_one_of('kept', lookup.Kept)})",
        name="kept_when_a_failure_is_kept",
    ),
    sqlalchemy.ForeignKeyConstraint(["job_id", "attempt"], ["attempts.job_id", "attempts.number"]),
)


def waits(prefix: str = "") -> str:
    """Return SQL that holds for rows that wait for a run, or did; `prefix` goes before columns."""
    return f"{prefix}ended_as IS NULL AND {_one_of(f'{prefix}outcome', WAITING)}"


sqlalchemy.Index(
    "ix_batch_rows_waiting",
    batch_rows.c.job_id,
    batch_rows.c.attempt,
    sqlite_where=sqlalchemy.text(waits()),
    postgresql_where=sqlalchemy.text(waits()),
)

# What a row is to run that waits for others before it can be looked up; gone once it is decided.
undecided_rows = sqlalchemy.Table(
    "undecided_rows",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("row_index", Integer, primary_key=True),
    # How many of its dependencies are not met yet; with 0 it is ready.
    Column("waits_for", Integer, nullable=False),
    # Position of its config in the request.
    Column("config_index", Integer, nullable=False),
    Column("method_name", Text, nullable=False),
    # The version is pinned when the batch is accepted.
    Column("function_hash", Text, nullable=False),
    # A JSON object, as in jobs: of the inputs that were known from the beginning.
    Column("inputs", Text, nullable=False),
    Column("parameters_json", Text, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    Column("cache_policy", Text, nullable=False),
    Column("resubmit_policy", Text, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    sqlalchemy.CheckConstraint("waits_for >= 0", name="waits_for_from_0"),
    sqlalchemy.CheckConstraint("cpus >= 1", name="cpus_from_1"),
    sqlalchemy.CheckConstraint(
        _one_of("cache_policy", lookup.CachePolicy), name="cache_policy_is_one"
    ),
    sqlalchemy.CheckConstraint(
        _one_of("resubmit_policy", lookup.ResubmitPolicy), name="resubmit_policy_is_one"
    ),
    sqlalchemy.ForeignKeyConstraint(
        ["batch_id", "row_index"], ["batch_rows.batch_id", "batch_rows.row_index"]
    ),
)
# The rows that can be looked up.
sqlalchemy.Index(
    "ix_undecided_rows_ready",
    undecided_rows.c.batch_id,
    undecided_rows.c.row_index,
    sqlite_where=sqlalchemy.text("waits_for = 0"),
    postgresql_where=sqlalchemy.text("waits_for = 0"),
)

dependencies = sqlalchemy.Table(
    "dependencies",
    metadata,
    # The row that waits.
    Column("batch_id", Text, primary_key=True),
    Column("row_index", Integer, primary_key=True),
    # Its dependencies are counted, from 0.
    Column("position", Integer, primary_key=True),
    # What it waits for: a row of its batch, or a chain of attempts. That row may be stored later.
    Column("upstream_index", Integer),
    Column("upstream_job_id", Text),
    Column("upstream_attempt", Integer),
    Column("condition", Text, nullable=False),
    # The input that the other's output becomes; empty when it only has to have ended.
    Column("input_name", Text, nullable=False),
    # What it waits for as people call it.
    Column("upstream_name", Text, nullable=False),
    # 1: it has ended as it should. Of one that can never be met no row waits any more.
    Column("is_met", Integer, nullable=False, server_default="0"),
    sqlalchemy.CheckConstraint(
        "(upstream_index IS NOT NULL AND upstream_job_id IS NULL AND upstream_attempt IS NULL)"
        " OR (upstream_index IS NULL AND upstream_job_id IS NOT NULL"
        " AND upstream_attempt IS NOT NULL)",
        name="upstream_is_a_row_or_a_job",
    ),
    sqlalchemy.CheckConstraint("position >= 0", name="position_from_0"),
    sqlalchemy.CheckConstraint(_one_of("condition", rules.Condition), name="condition_is_one"),
    sqlalchemy.CheckConstraint(
        "input_name = '' OR condition = 'SUCCEEDED'", name="input_comes_from_success"
    ),
    sqlalchemy.CheckConstraint("is_met = 0 OR is_met = 1", name="is_met_or_not"),
    sqlalchemy.ForeignKeyConstraint(
        ["batch_id", "row_index"], ["undecided_rows.batch_id", "undecided_rows.row_index"]
    ),
    sqlalchemy.ForeignKeyConstraint(
        ["upstream_job_id", "upstream_attempt"], ["attempts.job_id", "attempts.number"]
    ),
)
# Who waits for a row, and who for a run.
sqlalchemy.Index(
    "ix_dependencies_on_row",
    dependencies.c.batch_id,
    dependencies.c.upstream_index,
    sqlite_where=sqlalchemy.text("is_met = 0"),
    postgresql_where=sqlalchemy.text("is_met = 0"),
)
sqlalchemy.Index(
    "ix_dependencies_on_job",
    dependencies.c.upstream_job_id,
    sqlite_where=sqlalchemy.text("is_met = 0 AND upstream_job_id IS NOT NULL"),
    postgresql_where=sqlalchemy.text("is_met = 0 AND upstream_job_id IS NOT NULL"),
)

staged_pieces = sqlalchemy.Table(
    "staged_pieces",
    metadata,
    # Of a batch that is not there before it is sealed.
    Column("batch_id", Text, primary_key=True),
    # Its place among the pieces, from 0.
    Column("piece_number", Integer, primary_key=True),
    Column("row_count", Integer, nullable=False),
    # The server that staged it.
    Column("owner", Text, nullable=False),
    # The rows before they are decided, encoded; opaque here.
    Column("rows", LargeBinary, nullable=False),
    sqlalchemy.CheckConstraint("piece_number >= 0", name="piece_number_from_0"),
    sqlalchemy.CheckConstraint("row_count >= 1", name="row_count_from_1"),
)

files = sqlalchemy.Table(
    "files",
    metadata,
    Column("file_hash", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    # The client's name for it; a label, never a path.
    Column("filename", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=False),
    # 1: it is being deleted; nobody may use it any more.
    Column("is_deleting", Integer, nullable=False, server_default="0"),
    sqlalchemy.CheckConstraint("length(file_hash) = 64", name="file_hash_is_a_hash"),
    sqlalchemy.CheckConstraint("is_deleting = 0 OR is_deleting = 1", name="is_deleting_or_not"),
)
# Listed, the newest first.
sqlalchemy.Index("ix_files_listed", files.c.created_at, files.c.file_hash)
# The longest unused first.
sqlalchemy.Index("ix_files_used", files.c.last_used_at, files.c.file_hash)
# Few at any time.
sqlalchemy.Index(
    "ix_files_deleting",
    files.c.file_hash,
    sqlite_where=sqlalchemy.text("is_deleting = 1"),
    postgresql_where=sqlalchemy.text("is_deleting = 1"),
)
