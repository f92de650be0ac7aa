"""Requests that have a name: which batch one was accepted as.

Promise: a name has one batch for good. The unique index decides who is first, also of two servers.
"""

import sqlalchemy

from dshpc_server.store.records import AcceptedRequest, RequestName
from dshpc_server.store.sql import tables

_batches = tables.batches.c
_FIND = sqlalchemy.select(_batches.batch_id, _batches.request_id, _batches.request_hash).where(
    _batches.request_id == sqlalchemy.bindparam("request")
)


def find(connection: sqlalchemy.Connection, request_id: str) -> AcceptedRequest | None:
    """Return the request of this name, if it was accepted."""
    found = connection.execute(_FIND, {"request": request_id}).one_or_none()
    if found is None:
        return None
    batch_id, request_id, request_hash = found
    name = RequestName(request_id=request_id, request_hash=request_hash)
    return AcceptedRequest(name=name, batch_id=batch_id)
