"""An address is looked at before it is served on, and what is in the way is named."""

import socket

import pytest

from dshpc_server.transport import listening


def test_a_free_port_and_any_port_are_fine() -> None:
    listening.check("127.0.0.1:0")
    listening.check("[::1]:0")
    listening.check("localhost:0")


def test_a_port_where_somebody_listens_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(listening.ListenError, match="Address already in use"):
            listening.check(address)
    listening.check(address)


def test_a_host_that_nobody_knows_is_told() -> None:
    with pytest.raises(listening.ListenError, match=r"cannot listen on no\.such\.host\.invalid:1"):
        listening.check("no.such.host.invalid:1")
