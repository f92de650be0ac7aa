"""Resume tokens: where a stream of a batch stands, opaque to clients.

A token names the deployment and the batch that it is of, a position, and a checksum of these, by
which one that was damaged or made up is told; it grants no rights. One of another deployment (a
store that was made anew) is no error: it speaks of nothing here, so everything is told.
"""

import base64
import binascii
import hashlib
import json

from dshpc_server import errors
from dshpc_server.batches import untold
from dshpc_server.domain.rejection import Violation

_EPOCH_LENGTH = 8
_CHECKSUM_LENGTH = 16
_MAX_NUMBER = 2**63 - 1


class ResumeTokens:
    """Makes and reads the tokens of one deployment."""

    def __init__(self, deployment_id: str) -> None:
        self._epoch = deployment_id[:_EPOCH_LENGTH]

    def token(self, batch_id: str, position: untold.Position) -> str:
        """Return the token of a position; empty for what was only validated and is no batch."""
        if not batch_id:
            return ""
        told = [self._epoch, batch_id, position.changed_at, position.ended_rows]
        text = json.dumps([*told, _checksum(told)], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def position(self, field: str, token: str, batch_id: str) -> untold.Position | None:
        """Return the position of a token of this batch; None when it is of another deployment.

        Raises InvalidRequestError, naming the field, for what is no such token.
        """
        match _read(token):
            case [str(epoch), str(of_batch), int(changed_at), int(ended_rows), str(checksum)] if (
                checksum == _checksum([epoch, of_batch, changed_at, ended_rows])
                and of_batch == batch_id
                and 0 <= changed_at <= _MAX_NUMBER
                and 0 <= ended_rows <= _MAX_NUMBER
            ):
                if epoch != self._epoch:
                    return None
                return untold.Position(changed_at=changed_at, ended_rows=ended_rows)
        raise errors.InvalidRequestError(
            Violation(field=field, description="is not a token of this batch")
        )


def _read(token: str) -> object:
    try:
        padded = token + "=" * (-len(token) % 4)
        return json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, binascii.Error, RecursionError):
        return None


def _checksum(told: list[object]) -> str:
    return hashlib.sha256(repr(told).encode()).hexdigest()[:_CHECKSUM_LENGTH]
