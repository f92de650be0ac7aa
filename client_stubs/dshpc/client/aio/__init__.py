"""The asyncio client: the methods of `dshpc.client.Client` as coroutines and async iterators.

Made inside the event loop that runs it, and used there alone. Errors are the same.
"""

from dshpc.client.aio.batches import AsyncRunningBatch, Batches
from dshpc.client.aio.catalog import Catalog
from dshpc.client.aio.files import Files
from dshpc.client.aio.jobs import Jobs

__all__ = ["AsyncClient", "AsyncRunningBatch"]


class AsyncClient(Batches, Jobs, Files, Catalog):
    """A connection to a server at HOST:PORT, for asyncio.

    `deadline_seconds` is the longest wait for a small call; batches, streams, uploads and downloads
    have no deadline. `retry` is how patiently streams of batches, uploads, downloads, logs and
    watches go on after the connection was lost.
    """
