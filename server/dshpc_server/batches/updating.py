"""Changing a batch that was accepted: its priority."""

from dshpc_server import errors
from dshpc_server.store import committer, port, records


async def set_priority(
    committer: committer.Committer, batch_id: str, priority: int
) -> records.BatchRecord:
    """Have what is in the queue for a batch go by another priority; the batch as it is then.

    Raises NotFoundError.
    """

    def work(writer: port.Writer) -> bool:
        return writer.set_priority(batch_id, priority)

    is_known = await committer.write(work)
    batch = await committer.read(lambda store: store.find_batch(batch_id)) if is_known else None
    if batch is None:
        raise errors.NotFoundError("batch", batch_id)
    return batch
