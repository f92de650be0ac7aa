"""The proxy of the fault tests: it does to connections what it is told, and nothing else."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from support import fault_proxy, live_server
from support.fault_connection import Way

SECONDS = 10.0
RESET = (ConnectionResetError, BrokenPipeError)


class Echo:
    """A server that sends back what it is sent, and says when it was told FIN."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.told_end = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(SECONDS)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                thread = threading.Thread(target=self._serve, args=(peer,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(65_536):
                peer.sendall(data)
            self.told_end.set()
            peer.sendall(b"bye")


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[fault_proxy.Proxy]:
    with fault_proxy.before(echo.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: fault_proxy.Proxy) -> Iterator[socket.socket]:
    with connect(proxy) as client:
        yield client


def connect(proxy: fault_proxy.Proxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return received(client, len(data))


def received(client: socket.socket, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes and (piece := client.recv(size_bytes - len(data))):
        data += piece
    return data


def test_everything_passes_until_told_otherwise(
    client: socket.socket, proxy: fault_proxy.Proxy
) -> None:
    data = bytes(range(256)) * 1000
    sending = threading.Thread(target=client.sendall, args=(data,))
    sending.start()
    assert received(client, len(data)) == data
    sending.join(SECONDS)
    assert [proxy.passed_bytes(way) for way in Way] == [len(data)] * 2
    assert (proxy.connections, proxy.accepted) == (1, 1)


def test_so_many_bytes_pass_as_are_let_and_the_rest_later(
    client: socket.socket, proxy: fault_proxy.Proxy
) -> None:
    proxy.let(to_server=3)
    client.sendall(b"abcdef")
    proxy.wait_until_spent()
    assert received(client, 3) == b"abc"
    proxy.tick(2)
    assert received(client, 2) == b"de"
    assert proxy.passed_bytes(Way.TO_SERVER) == 5
    proxy.pass_all()
    assert received(client, 1) == b"f"


def test_what_trickles_arrives_whole(client: socket.socket, proxy: fault_proxy.Proxy) -> None:
    proxy.trickle(1, every_seconds=0.001)
    assert echoed(client, b"drop by drop") == b"drop by drop"


def test_what_is_delayed_arrives(client: socket.socket, proxy: fault_proxy.Proxy) -> None:
    proxy.delay(0.01)
    assert echoed(client, b"later") == b"later"


def test_a_reset_is_told_to_both_ends(
    client: socket.socket, proxy: fault_proxy.Proxy, echo: Echo
) -> None:
    assert echoed(client, b"x") == b"x"
    assert proxy.cut() == 1
    with pytest.raises(RESET):
        client.recv(1)
    assert proxy.connections == 0
    assert not echo.told_end.is_set()


def test_a_cut_without_reset_is_an_end(
    client: socket.socket, proxy: fault_proxy.Proxy, echo: Echo
) -> None:
    assert echoed(client, b"x") == b"x"
    proxy.cut(reset=False)
    assert client.recv(1) == b""
    assert echo.told_end.wait(SECONDS)


def test_half_a_connection_can_end_while_the_other_goes_on(
    client: socket.socket, proxy: fault_proxy.Proxy, echo: Echo
) -> None:
    assert echoed(client, b"x") == b"x"
    proxy.half_close(Way.TO_SERVER)
    assert received(client, 3) == b"bye"
    assert echo.told_end.is_set()


def test_what_is_refused_cannot_connect_until_it_may_again(proxy: fault_proxy.Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.accept()
    with connect(proxy) as client:
        assert echoed(client, b"again") == b"again"


def test_a_stall_holds_what_is_sent_and_forgets_nothing(
    client: socket.socket, proxy: fault_proxy.Proxy
) -> None:
    proxy.stall()
    client.sendall(b"held")
    assert proxy.passed_bytes(Way.TO_SERVER) == 0
    proxy.pass_all()
    assert received(client, 4) == b"held"


def test_an_end_of_one_side_is_passed_to_the_other(
    client: socket.socket, proxy: fault_proxy.Proxy
) -> None:
    assert echoed(client, b"x") == b"x"
    client.shutdown(socket.SHUT_WR)
    assert received(client, 3) == b"bye"
    live_server.wait_for(lambda: proxy.connections == 0, "the connection to end")


def test_who_connects_while_nobody_serves_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with (
        fault_proxy.before(f"127.0.0.1:{port}") as proxy,
        pytest.raises(RESET),  # as it connects, or as it reads
        connect(proxy) as client,
    ):
        client.recv(1)
