"""Stores of earlier versions: made empty by the scripts up to one, and filled by hand."""

import contextlib
import pathlib

import alembic.command
import alembic.config
import sqlalchemy

from dshpc_server.store.sql import columns, database, migrate
from support import store_values as v

_NOON = columns.moment(v.NOON)
_JOB = (
    "INSERT INTO jobs (job_id, method_name, function_hash, inputs, parameters_json, newest_attempt)"
    " VALUES (:job_id, :method_name, :function_hash, :inputs, :parameters_json, :newest)"
)
_ATTEMPT = (
    "INSERT INTO attempts (job_id, number, status, revision, cpus, memory_bytes, gpus,"
    " timeout_seconds, chain, is_retried, owner, created_at, queued_at, queue_index, due_at,"
    " started_at, ended_at, exit_code, reason, output_hash, output_size_bytes, output_is_inline,"
    " cancel_reason, engine_job_id, node, result, stderr_tail)"
    " VALUES (:job_id, :number, :status, 7, 2, 1024, 1, 60.5, :chain, :is_retried, :owner, :at,"
    " :at, 3, 5, :at, :ended_at, 1, 'why', :output_hash, 4, :is_inline, 'asked', '4711', 'here',"
    " :result, 'warning')"
)
# Name: the attempts, each (status, is_retried, owner).
OF_0004: dict[str, list[tuple[str, int, str | None]]] = {
    "done": [("COMPLETED", 0, "gone")],
    "retried": [("NODE_FAIL", 1, "gone"), ("PENDING", 0, None)],
    "running": [("RUNNING", 0, "gone")],
}
"""What `fill_0004` puts there: each job with an attempt as long as its story."""


def make(url: str | pathlib.Path, version: str) -> None:
    """Make an empty store of this version."""
    config = alembic.config.Config()
    config.set_main_option("script_location", migrate._SCRIPTS)
    opened = database.connect(database.parse(url), read_only=False)
    with contextlib.closing(opened), opened.writers.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, version)


def fill_0004(url: str | pathlib.Path) -> None:
    """Put something of everything that attempts tell into a store of 0004."""
    opened = database.connect(database.parse(url), read_only=False)
    with contextlib.closing(opened), opened.writers.begin() as connection:
        for name, attempts in OF_0004.items():
            names = ("job_id", "method_name", "function_hash", "inputs", "parameters_json")
            spec = dict(zip(names, columns.spec_values(v.spec(name)), strict=True))
            connection.execute(sqlalchemy.text(_JOB), {**spec, "newest": len(attempts)})
            for number, (status, is_retried, owner) in enumerate(attempts, start=1):
                values = _attempt(name, number, status, is_retried, owner)
                connection.execute(sqlalchemy.text(_ATTEMPT), values)


def _attempt(
    name: str, number: int, status: str, is_retried: int, owner: str | None
) -> dict[str, object]:
    has_ended = status in ("COMPLETED", "NODE_FAIL")
    return {
        "job_id": v.sha(name),
        "number": number,
        "status": status,
        "chain": 1,
        "is_retried": is_retried,
        "owner": owner,
        "at": _NOON,
        "ended_at": _NOON + 5_000_000 if has_ended else None,
        "output_hash": v.sha("output") if status == "COMPLETED" else "",
        "is_inline": int(status == "COMPLETED"),
        "result": b"\0result" if has_ended else None,
    }
