"""The runner's socket: peers that die, stall or talk nonsense harm nobody else."""

import pathlib
import socket
from collections.abc import Iterator

import pytest

from dshpc_server.engine.local import channel, facts, wire

HELLO: wire.Hello = {"version": wire.VERSION, "pid": 1, "confinement": ""}


class Site:
    """A channel, and what came through it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.path = str(folder / "socket")
        self.orders: list[wire.Order] = []
        self.log: list[str] = []
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.path)
        listening.listen()
        listening.settimeout(0)
        self.channel = channel.Channel(
            listening=listening, hello=HELLO, take=self.take, log=self.log.append
        )

    def take(self, order: wire.Order) -> None:
        self.orders.append(order)

    def connect(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(self.path)
        self.channel.serve(5)
        assert wire.parse(peer.recv(4096)) == {"hello": HELLO}
        return peer


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.channel.close()


def test_a_message_may_come_in_pieces_and_many_at_once(site: Site) -> None:
    with site.connect() as peer:
        peer.sendall(b'{"cancel":["a"]}\n{"can')
        site.channel.serve(5)
        assert site.orders == [{"cancel": ["a"]}]
        peer.sendall(b'cel":["b"]}\n')
        site.channel.serve(5)
    assert site.orders == [{"cancel": ["a"]}, {"cancel": ["b"]}]


def test_a_message_that_its_peer_did_not_finish_is_dropped(site: Site) -> None:
    with site.connect() as peer:
        peer.sendall(b'{"cancel":["a"]}')
        site.channel.serve(5)
    site.channel.serve(5)
    assert site.orders == []
    assert not site.channel.is_connected()


@pytest.mark.parametrize("nonsense", [b"\xff\n", b"[]\n", b"{\n", b"[" * 100_000 + b"\n"])
def test_a_peer_that_talks_nonsense_is_cut_off_and_the_others_stay(
    site: Site, nonsense: bytes
) -> None:
    with site.connect() as bad, site.connect() as good:
        bad.sendall(nonsense)
        site.channel.serve(5)
        assert bad.recv(1) == b""
        good.sendall(b'{"cancel":["a"]}\n')
        site.channel.serve(5)
    assert site.orders == [{"cancel": ["a"]}]
    assert [line.split()[0] for line in site.log] == ["event=refused_message"]


@pytest.mark.parametrize(
    "order",
    [
        b"{}",
        b'{"launch":{}}',
        b'{"launch":null}',
        b'{"adopt":[{"name":"a"}]}',
        b'{"adopt":[{"name":"a\\n","folder":"/f"}]}',
        b'{"adopt":[{"name":"a","folder":"relative"}]}',
        b'{"adopt":[{"name":"a","folder":"/f\\u0000"}]}',
        b'{"adopt":[{"name":"a","folder":"/\\ud800"}]}',
        b'{"cancel":"a"}',
        b'{"cancel":[1]}',
        b'{"cancel":["a"],"adopt":[]}',
        b'{"unknown":[]}',
    ],
)
def test_an_order_that_is_not_in_form_is_dropped_and_its_peer_stays(
    site: Site, order: bytes
) -> None:
    with site.connect() as peer:
        peer.sendall(order + b'\n{"cancel":["a"]}\n')
        site.channel.serve(5)
    assert site.orders == [{"cancel": ["a"]}]
    assert site.log == ["event=refused_order"]


def test_a_wait_may_be_longer_than_the_system_allows(site: Site) -> None:
    with site.connect() as peer:
        peer.sendall(b'{"cancel":["a"]}\n')
        site.channel.serve(30 * 86_400.0)
    assert site.orders == [{"cancel": ["a"]}]


def test_a_line_without_end_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LINE_LIMIT_BYTES", 1000)
    with site.connect() as peer:
        peer.sendall(b"x" * 1001)
        site.channel.serve(5)
        assert not site.channel.is_connected()


def test_a_slow_reader_is_cut_off_and_the_others_are_told_everything(site: Site) -> None:
    with site.connect() as slow, site.connect() as quick:
        quick.settimeout(5)
        received = b""
        wanted = 0
        while "event=slow_reader" not in site.log:
            news = [facts.lost(f"{wanted + number}.1", "x" * 1000) for number in range(200)]
            wanted += len(news)
            site.channel.tell(news)
            while received.count(b'"name"') < wanted:
                received += quick.recv(2**20)
                site.channel.serve(0)
        assert received.count(b"\n") == wanted / 200
        assert len(slow.recv(2**20)) > 0
        assert site.channel.is_connected()
