"""Changing a batch that was accepted: its priority."""

import structlog

from dshpc_server import errors
from dshpc_server.store import committer, port

_log = structlog.get_logger(__name__)


async def set_priority(committer: committer.Committer, batch_id: str, priority: int) -> None:
    """Have what is in the queue for a batch go by another priority. Raises NotFoundError."""

    def work(writer: port.Writer) -> bool:
        return writer.set_priority(batch_id, priority)

    if not await committer.write(work):
        raise errors.NotFoundError("batch", batch_id)
    _log.info("batch.updated", batch_id=batch_id, priority=priority)
