"""Attempts that run and end: what a scripted engine tells of them, and what is stored then."""

from dshpc.v1 import types_pb2
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.engine import port as engine
from support import store_values
from support.batches_assembly import Assembly, job


async def launched(parts: Assembly, n: int = 0) -> AttemptKey:
    """A job whose process has started."""
    (row,) = await parts.accept(job(n=n))
    assert row.attempt is not None
    key = row.attempt.key
    await parts.engine.launched(key)
    await parts.engine.started(key)
    await parts.until_status(key, JobStatus.RUNNING)
    return key


def left(parts: Assembly, key: AttemptKey, stdout: bytes) -> engine.Exited:
    """What an engine tells of an exit that left this output; nobody is told yet."""
    folder = parts.engine.left_behind(key)
    folder.mkdir(parents=True)
    (folder / "stdout").write_bytes(stdout)
    return exited(parts, key)


def exited(parts: Assembly, key: AttemptKey) -> engine.Exited:
    folder = parts.engine.left_behind(key)
    return engine.Exited(
        key=key,
        at=store_values.NOON,
        started_at=store_values.NOON,
        engine_job_id="1",
        node="here",
        exit_code=0,
        signal=None,
        cause=engine.Cause.NONE,
        stdout=folder / "stdout",
        stderr=folder / "stderr",
    )


def result(parts: Assembly, key: AttemptKey) -> types_pb2.MultiJobResult:
    attempt = parts.store.find_attempts([key.job_id])[key.job_id]
    assert attempt.key == key
    assert attempt.result is not None
    return types_pb2.MultiJobResult.FromString(attempt.result)
