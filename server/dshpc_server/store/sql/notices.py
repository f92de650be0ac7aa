"""Notices between servers: which jobs and batches a commit has changed, told to all who listen.

Promise: a notice is part of the transaction that it tells of: it comes after the commit, or never.
Who follows misses nothing: whenever notices may have been lost it is told that anything may have
changed.

The listener's connection is the driver's bare one, so that every wait has a deadline and ends at
once when the listener is closed.
"""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy

from dshpc_server import clock, outage

if TYPE_CHECKING:  # the driver is there only where PostgreSQL is used
    from psycopg.pq.abc import PGconn

Tell = Callable[[Collection[str] | None], None]
TellBatches = Callable[[Collection[str]], None]

CHANNEL = "dshpc_changes"
# A notice is under 8,000 bytes; an id of a job takes 65 of them.
JOBS_PER_NOTICE = 100
# Who hears of more than these asks for everything anyway.
MANY_JOBS = 2_000
_MANY = "many"
# Before ids of batches; no id of a job has a space in it.
_BATCHES = "batches "
# How long each next sign of life may take.
_ANSWER_SECONDS = 5.0
# A line that was silent for so long is tried.
_SILENCE_SECONDS = 15.0
_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 5.0


def announce(
    connection: sqlalchemy.Connection,
    server_id: str,
    job_ids: Collection[str],
    batch_ids: Collection[str],
) -> None:
    """Tell every other server, once this transaction is committed, that these jobs changed.

    And that rows of these batches changed by themselves.
    """
    payloads = [*_payloads(server_id, job_ids), *_payloads(server_id, batch_ids, _BATCHES)]
    if payloads and connection.dialect.name != "sqlite":
        notify = f"SELECT pg_notify('{CHANNEL}', told) FROM unnest(%s::text[]) AS told"  # noqa: S608 (own name)
        connection.exec_driver_sql(notify, (payloads,))


def ignore(batch_ids: Collection[str]) -> None:
    """Be told of batches, and do nothing."""
    del batch_ids


def _payloads(server_id: str, ids: Collection[str], kind: str = "") -> list[str]:
    if len(ids) > MANY_JOBS:
        return [f"{server_id} {_MANY}"]
    ordered = sorted(ids)
    return [
        f"{server_id} {kind}{','.join(ordered[start : start + JOBS_PER_NOTICE])}"
        for start in range(0, len(ordered), JOBS_PER_NOTICE)
    ]


@contextlib.contextmanager
def listening(
    connection_words: Mapping[str, str],
    server_id: Callable[[], str],
    tell: Tell,
    tell_batches: TellBatches,
    clock: clock.Clock,
) -> Iterator[None]:
    """Tell what others announce, from a thread that ends with the context.

    `tell` gets ids of jobs, or None: anything may have changed, as after every (re)connection. What
    `server_id` has announced itself is left out. A lost connection is made anew, without end.
    `tell_batches` gets ids of batches.
    """
    listener = _Listener(connection_words, server_id, tell, tell_batches, clock)
    thread = threading.Thread(target=listener.run, name="store-listener")
    thread.start()
    try:
        yield
    finally:
        listener.close()
        thread.join()


class _ClosedError(Exception):
    """The listener is to end."""


class _Listener:
    """The thread's own: a connection after the other, until it is closed."""

    def __init__(
        self,
        connection_words: Mapping[str, str],
        server_id: Callable[[], str],
        tell: Tell,
        tell_batches: TellBatches,
        clock: clock.Clock,
    ) -> None:
        self._words = connection_words
        self._server_id = server_id
        self._tell = tell
        self._tell_batches = tell_batches
        self._outage = outage.Outage(clock, begins="store.notices.lost", ends="store.notices.back")
        self._ending, self._end = socket.socketpair()

    def close(self) -> None:
        """Have the thread end; from any other thread."""
        self._end.close()

    def run(self) -> None:
        """Be the thread."""
        pause = _FIRST_PAUSE_SECONDS
        with self._ending, contextlib.suppress(_ClosedError):
            while True:
                try:
                    with self._connected() as line:
                        pause = _FIRST_PAUSE_SECONDS
                        self._tell(None)
                        self._outage.works()
                        self._pass_on(line)
                except _ClosedError:
                    raise
                except Exception as error:  # noqa: BLE001 (whatever it was: connect again, and say so)
                    self._outage.failed(" ".join(str(error).split()))
                self._wait(None, pause)
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    @contextlib.contextmanager
    def _connected(self) -> "Iterator[PGconn]":
        from psycopg import conninfo, pq  # noqa: PLC0415 (only where PostgreSQL is used)

        line = pq.PGconn.connect_start(conninfo.make_conninfo(**self._words).encode())
        try:
            while (state := line.connect_poll()) != pq.PollingStatus.OK:
                if state == pq.PollingStatus.FAILED:
                    raise ConnectionError(line.get_error_message())
                is_reading = state == pq.PollingStatus.READING
                event = selectors.EVENT_READ if is_reading else selectors.EVENT_WRITE
                self._expect(line, event)
            self._ask(line, f"LISTEN {CHANNEL}")
            yield line
        finally:
            line.finish()

    def _pass_on(self, line: "PGconn") -> None:
        """Tell what comes in; returns never."""
        while True:
            if self._wait(line, _SILENCE_SECONDS):
                line.consume_input()
            else:
                self._ask(line, "SELECT 1")
            payloads = []
            while (notice := line.notifies()) is not None:
                payloads.append(notice.extra.decode())
            self._tell_all(_of_others(payloads, self._server_id()))

    def _tell_all(self, told: Sequence[str]) -> None:
        batches = [what for what in told if what.startswith(_BATCHES)]
        for job_ids in _told([what for what in told if not what.startswith(_BATCHES)]):
            self._tell(job_ids)
        if batches:
            self._tell_batches({each for what in batches for each in _ids(what, _BATCHES)})

    def _ask(self, line: "PGconn", statement: str) -> None:
        """Have a statement done, in time."""
        from psycopg import pq  # noqa: PLC0415 (only where PostgreSQL is used)

        line.send_query(statement.encode())
        while True:
            while line.is_busy():
                self._expect(line)
                line.consume_input()
            answer = line.get_result()
            if answer is None:
                return
            if answer.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                raise ConnectionError(answer.get_error_message())

    def _expect(self, line: "PGconn", event: int = selectors.EVENT_READ) -> None:
        if not self._wait(line, _ANSWER_SECONDS, event):
            raise TimeoutError("the database does not answer")

    def _wait(
        self, line: "PGconn | None", seconds: float, event: int = selectors.EVENT_READ
    ) -> bool:
        """Wait for the line; answer whether it is ready. Raises when the listener is closed."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ending, selectors.EVENT_READ)
            if line is not None:
                selector.register(line.socket, event)
            ready = {key.fileobj for key, _ in selector.select(seconds)}
        if self._ending in ready:
            raise _ClosedError
        return bool(ready)


def _of_others(payloads: Sequence[str], own_id: str) -> list[str]:
    """Return what is in these notices of other servers."""
    parted = [payload.partition(" ") for payload in payloads]
    return [what for server_id, _, what in parted if server_id != own_id]


def _told(notices: Sequence[str]) -> Sequence[Collection[str] | None]:
    """Return the jobs that these tell of; one None says more than all of them."""
    told: set[str] = set()
    for what in notices:
        if what == _MANY or not what:
            return [None]
        told.update(_ids(what))
    return [told] if told else []


def _ids(what: str, kind: str = "") -> list[str]:
    return what.removeprefix(kind).split(",")
