"""The message Packing, which jobs, attempts and results have in common."""

from dshpc.v1 import types_pb2
from dshpc_server.domain.job import Packing
from dshpc_server.transport import words


def message(packing: Packing) -> types_pb2.Packing:
    """Return how an attempt was packed as a message."""
    return types_pb2.Packing(jobs=packing.jobs, basis=words.BASIS_VALUE[packing.basis])
