"""Whether an address can be served on, asked of the system before gRPC is.

Promise: what is in the way is said in the system's own words. gRPC would tell the same in a line of
its own on stderr and in an error about its descriptors.
"""

import errno
import socket

from dshpc_server import errors

# Of several addresses of a name some may be missing on this machine; gRPC takes the others.
_IN_THE_WAY = frozenset({errno.EADDRINUSE, errno.EACCES})


class ListenError(errors.DshpcError):
    """The address cannot be served on."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}; --listen takes another")
        self.address = address
        self.reason = reason


def check(address: str) -> None:
    """Raise ListenError when HOST:PORT is taken, forbidden or no address of this machine."""
    host, _, port = address.rpartition(":")
    try:
        places = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ListenError(address, error.strerror or str(error)) from error
    for family, kind, protocol, _, place in places:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except OSError as error:
            if error.errno in _IN_THE_WAY:
                raise ListenError(address, error.strerror or str(error)) from error
