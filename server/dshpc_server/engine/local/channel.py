"""The runner's socket: takes orders from whoever connects, tells news to all who are connected.

Nothing here waits for a peer. One that reads too slowly is cut off once 4 MiB wait for it: what
it missed is on disk, and it asks again when it is back. One that talks no JSON is cut off too; an
order that is not in form, or was not finished before the peer went away, is dropped.
"""

import contextlib
import os
import selectors
import socket
from collections.abc import Callable

from dshpc_server.engine.local import wire

_BACKLOG_LIMIT_BYTES = 4 * 2**20
_READ_BYTES = 256 * 1024
_LONGEST_WAIT_SECONDS = 3600.0
"""The system refuses to wait for more than 24 days; a timeout may be longer."""
_FACTS_A_LINE = 200


class Channel:
    """The listening socket and its connections."""

    def __init__(
        self,
        *,
        listening: socket.socket,
        hello: wire.Hello,
        take: Callable[[wire.Order], None],
        log: Callable[[str], None],
    ) -> None:
        self._listening = listening
        self._hello = hello
        self._take = take
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self.was_used = False
        """Whether anybody has ever connected."""
        self._selector.register(listening, selectors.EVENT_READ, self._accept)

    def is_connected(self) -> bool:
        """Whether anybody is there."""
        return bool(self._connections)

    def watch(self, fd: int, do: Callable[[], None]) -> None:
        """Call this when the descriptor can be read."""
        self._selector.register(fd, selectors.EVENT_READ, lambda _: do())

    def serve(self, timeout_seconds: float | None) -> None:
        """Wait for something to happen, at most an hour, and deal with it."""
        if timeout_seconds is not None:
            timeout_seconds = min(timeout_seconds, _LONGEST_WAIT_SECONDS)
        for key, events in self._selector.select(timeout_seconds):
            key.data(events)

    def tell(self, news: list[wire.Fact]) -> None:
        """Tell facts to all who are connected."""
        for first in range(0, len(news), _FACTS_A_LINE):
            line = wire.line({"facts": news[first : first + _FACTS_A_LINE]})
            for connection in list(self._connections):
                self._send(connection, line)

    def close(self) -> None:
        """Give everything back."""
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()
        self._listening.close()

    def _accept(self, _events: int) -> None:
        try:
            peer, _ = self._listening.accept()
        except OSError:  # it has gone away again
            return
        peer.settimeout(0)
        connection = _Connection(peer)
        self.was_used = True
        self._connections.add(connection)
        self._selector.register(
            peer, selectors.EVENT_READ, lambda events: self._serve_one(connection, events)
        )
        self._send(connection, wire.line({"hello": self._hello}))

    def _serve_one(self, connection: "_Connection", events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(connection, b"")
        if events & selectors.EVENT_READ and connection in self._connections:
            self._receive(connection)

    def _receive(self, connection: "_Connection") -> None:
        try:
            data = connection.peer.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        try:
            for line in connection.lines(data):
                self._take_one(wire.parse(line))
        except ValueError as error:
            self._log(f"event=refused_message error={type(error).__name__}")
            self._drop(connection)

    def _take_one(self, message: dict[str, object]) -> None:
        if wire.is_order(message):
            self._take(message)
        else:
            self._log("event=refused_order")

    def _send(self, connection: "_Connection", data: bytes) -> None:
        connection.unsent += data
        try:
            sent = connection.peer.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        del connection.unsent[:sent]
        if len(connection.unsent) > _BACKLOG_LIMIT_BYTES:
            self._log("event=slow_reader")
            self._drop(connection)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        if events != connection.events:
            key = self._selector.get_key(connection.peer)
            self._selector.modify(connection.peer, events, key.data)
            connection.events = events

    def _drop(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.peer)
        connection.peer.close()


class _Connection:
    """One peer, what it has not finished saying, and what it has not read yet."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.events = selectors.EVENT_READ
        self.unsent = bytearray()
        self._unfinished = bytearray()

    def lines(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now. Raises ValueError for one without end."""
        self._unfinished += data
        *complete, rest = self._unfinished.split(b"\n") if b"\n" in data else [self._unfinished]
        self._unfinished = bytearray(rest)
        if len(self._unfinished) > wire.LINE_LIMIT_BYTES:
            raise ValueError("endless line")
        return [bytes(line) for line in complete]


def listen(folder: str) -> socket.socket:
    """Listen in this folder, for its owner alone.

    The path of a unix socket has 107 bytes at most and the folder may be deeper, so the socket is
    bound by a relative name: the current directory is the folder from here on.
    """
    os.chdir(folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(wire.SOCKET_NAME)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(wire.SOCKET_NAME)
    os.chmod(wire.SOCKET_NAME, 0o600)
    listening.listen(16)
    listening.settimeout(0)
    return listening
