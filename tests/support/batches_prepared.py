"""Rows of a request, as the resolver prepares them for the store."""

from collections.abc import Sequence

from dshpc.v1 import types_pb2
from dshpc_server.batches.request import JobRequest, RefusedRow
from dshpc_server.store import records
from support.batches_assembly import Assembly

Asked = JobRequest | RefusedRow


def refusal(row: records.NewRow | records.Row) -> types_pb2.MultiJobResult:
    """What a row that was refused is answered with."""
    assert row.rejection is not None
    return types_pb2.MultiJobResult.FromString(row.rejection)


async def prepare(parts: Assembly, *rows: Asked) -> Sequence[records.NewRow]:
    """Prepare a request of these rows."""
    return (await parts.prepare(rows)).rows


async def candidate(parts: Assembly, row: Asked) -> records.Candidate:
    """Prepare a row that becomes a job; that job."""
    (prepared,) = await prepare(parts, row)
    assert prepared.candidate is not None, refusal(prepared).message
    return prepared.candidate
