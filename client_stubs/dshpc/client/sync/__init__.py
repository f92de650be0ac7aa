"""The synchronous client: one connection, one method for each thing a program wants done.

Methods raise `dshpc.client.errors.DshpcError` for what the server or the connection did, and
OSError for local files. A client may be used by several threads, except that one iterator is read
by one thread.
"""

from dshpc.client.sync.batches import Batches, RunningBatch
from dshpc.client.sync.catalog import Catalog
from dshpc.client.sync.files import Files
from dshpc.client.sync.jobs import Jobs

__all__ = ["Client", "RunningBatch"]


class Client(Batches, Jobs, Files, Catalog):
    """A connection to a server at HOST:PORT.

    `deadline_seconds` is the longest wait for a small call; batches, streams, uploads and downloads
    have no deadline. `retry` is how patiently streams of batches, uploads, downloads, logs and
    watches go on after the connection was lost.
    """
