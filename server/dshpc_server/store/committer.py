"""The asyncio side of the store: one hop to its threads per call, and group commit.

The committer owns the one thread that writes. Whatever waits when that thread is free goes into
one transaction, so that a hundred callers pay for one commit; works that take long have one each,
in turns with the others, so that nobody waits for more than one of them. Changes are told on the
event loop, commit after commit in their order, and before the callers of the same commit have their
answers: who has an answer finds that everybody who watches has been told. Of a commit that failed
nobody knows whether it was made all the same; that, too, is told before the answers.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from dshpc_server import errors
from dshpc_server.store.port import Reader, Store, Writer
from dshpc_server.store.records import Attempt, ChangedRows, Commit

T = TypeVar("T")
OnChanges = Callable[[Sequence[Attempt]], None]
OnRows = Callable[[Sequence[ChangedRows]], None]

# Enough that a long question does not hold up a short one.
READER_THREADS = 2
_RETRY_AFTER_SECONDS = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    """A work that waits for its commit."""

    work: Callable[[Writer], Any]
    answer: asyncio.Future[Any]
    is_alone: bool


def _ignore() -> None:
    """Nobody wants to know."""


def _ignore_rows(_: Sequence[ChangedRows]) -> None:
    """Nobody wants to know."""


class Committer:
    """Gives the store its work, from one event loop; an async context manager.

    Leaving the context finishes what was asked before, then ends the threads. The store stays
    open: it belongs to whoever opened it.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_changes: OnChanges,
        on_rows: OnRows = _ignore_rows,
        on_touched: Callable[[], None] = _ignore,
        on_doubt: Callable[[], None] = _ignore,
    ) -> None:
        """`on_changes` runs on the event loop, once per commit that made or moved attempts.

        So do `on_rows`, once per commit that changed rows themselves, `on_touched`, once per commit
        that gave attempts another place in the queue or had some stopped, and `on_doubt`, once per
        commit that failed and may have been made.
        """
        self._store = store
        self._on_changes = on_changes
        self._on_rows = on_rows
        self._on_touched = on_touched
        self._on_doubt = on_doubt
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._reading: set[asyncio.Future[Any]] = set()
        self._open = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._readers = concurrent.futures.ThreadPoolExecutor(
            READER_THREADS, thread_name_prefix="store-reader"
        )
        self._thread = threading.Thread(target=self._commit_until_closed, name="store-writer")
        self._thread.start()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        self._waiting.put(None)
        try:
            await self._ended
            while self._reading:
                await asyncio.wait(self._reading)
        finally:  # also when this is cancelled: then the loop waits for the threads
            self._thread.join()
            self._readers.shutdown()

    async def write(self, work: Callable[[Writer], T], *, alone: bool = False) -> T:
        """Run one work in the next transaction and return its answer once that is durable.

        `alone`: it takes long, so it has a transaction of its own, when others had theirs.

        Raises what the work raised, or `errors.UnavailableError` when the store could not commit
        or is closing. A caller that is cancelled does not take its work back: it commits.
        """
        self._check_open()
        answer: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put(_Waiting(work=work, answer=answer, is_alone=alone))
        return await answer

    async def read(self, question: Callable[[Reader], T]) -> T:
        """Ask one question on a reader's thread; it sees everything committed before the call."""
        self._check_open()
        answer = self._loop.run_in_executor(self._readers, question, self._store)
        self._reading.add(answer)
        answer.add_done_callback(self._reading.discard)
        return await answer

    def _check_open(self) -> None:
        if not self._open:
            raise errors.UnavailableError(
                "the store is closing", retry_after_seconds=_RETRY_AFTER_SECONDS
            )

    def _commit_until_closed(self) -> None:
        """Be the writer's thread."""
        long: collections.deque[_Waiting] = collections.deque()
        closing = False
        while long or not closing:
            waiting = [] if long else [self._waiting.get()]
            while not self._waiting.empty():
                waiting.append(self._waiting.get())
            closing = closing or None in waiting  # nothing is put after it
            works = [each for each in waiting if each is not None]
            long.extend(each for each in works if each.is_alone)
            if group := [each for each in works if not each.is_alone]:
                self._commit(group)
            if long:
                self._commit([long.popleft()])
        self._loop.call_soon_threadsafe(_resolve, self._ended, None)

    def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            commit = self._store.write([each.work for each in group])
        except Exception as error:  # noqa: BLE001 (whatever went wrong, the callers are to know)
            commit = Commit(answers=[error] * len(group), changes=())
        self._loop.call_soon_threadsafe(self._tell, group, commit)

    def _tell(self, group: Sequence[_Waiting], commit: Commit[Any]) -> None:
        """Run on the event loop: first the changes, then the answers, whatever comes of those."""
        try:
            if any(map(_is_doubtful, commit.answers)):
                self._on_doubt()
            if commit.changes:
                self._on_changes(commit.changes)
            if commit.rows:
                self._on_rows(commit.rows)
            if commit.touched:
                self._on_touched()
        finally:  # what these raise goes to the loop's exception handler
            for each, answer in zip(group, commit.answers, strict=True):
                _resolve(each.answer, answer)


def _is_doubtful(answer: object) -> bool:
    """Whether this may have been committed all the same; what had no room was certainly not."""
    is_failure = isinstance(answer, errors.UnavailableError)
    return is_failure and not isinstance(answer, errors.NoRoomError)


def _resolve(future: asyncio.Future[Any], answer: object) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(answer, StopIteration):  # a future cannot hold one
        answer = RuntimeError("a work raised StopIteration")
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
