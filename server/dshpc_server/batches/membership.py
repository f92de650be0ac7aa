"""Membership: being one of the servers of a store, and taking over from those that have died.

Promises: the lease is renewed by a thread of its own, so that no long write, no busy event loop and
no large request makes a living server look dead. Who is dead is known by its lease or, on one node
and sooner, by its lock (`presence`); nobody else's attempts are touched. A server that was taken
for dead forgets what it had, which others have now, and goes on as a new one. A server that ends
leaves its attempts to be taken over at once.

A store that is not shared has no others: there only what an earlier server left is taken up.
"""

import asyncio
import contextlib
import logging
import types
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, Self

import structlog

from dshpc_server import clock, errors
from dshpc_server.batches import lease
from dshpc_server.store import committer, port, records

LOOK_SECONDS = 2.0
"""How often others are looked for at the latest."""
RETRY_SECONDS = 0.5
"""Pause after the store was not available."""

_log = structlog.get_logger(__name__)


class Attempts(Protocol):
    """What has the attempts of this server; the dispatcher."""

    async def take_up(self, found: Sequence[records.ActiveAttempt]) -> None:
        """Go on with these, too."""
        ...

    async def check(self) -> None:
        """Compare what is known with the store."""
        ...

    async def begin_anew(self, rejoin: Callable[[], Awaitable[None]]) -> None:
        """Forget all."""
        ...


class Locks(Protocol):
    """Who is there, on this node; `presence.Presence`."""

    def hold(self, server_id: str) -> None:
        """Be there as this server."""
        ...

    def release(self) -> None:
        """Be there no more."""
        ...

    def gone(self, server_ids: Collection[str]) -> set[str]:
        """Those that are certainly gone."""
        ...

    def clear(self, living: Collection[str]) -> None:
        """Remove what the dead left, but for those named."""
        ...


def _ignore() -> None:
    """Nobody wants to know."""


class Membership:
    """Keeps this server a member. An async context manager; inside it, one task calls `run`.

    It is to be entered before anything writes to the store, and left after all of that has ended.
    """

    def __init__(
        self,
        *,
        store: port.Store,
        committer: committer.Committer,
        attempts: Attempts,
        presence: Locks,
        scope: str,
        clock: clock.Clock,
        on_taken_over: Callable[[], None] = _ignore,
    ) -> None:
        """`on_taken_over` is told that others have died, who may have left something undone."""
        self._store = store
        self._committer = committer
        self._attempts = attempts
        self._presence = presence
        self._scope = scope
        self._on_taken_over = on_taken_over
        self._clock = clock
        self._lease = lease.Lease(store, self._from_thread, clock)
        self._is_fenced = False
        self._is_away = False
        """The store did not answer the last time."""
        self._called = asyncio.Event()
        """Set when there is more to do than to look around."""
        self._begun = asyncio.Event()
        self._told: set[str] = set()
        """Silent servers of other scopes that the log has named."""

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._hold()
        if self._store.is_shared:
            self._lease.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._leave)

    async def begin(self) -> None:
        """Take over what there is, before anything is claimed; `run` does it if that fails now."""
        self._is_away = False
        try:
            if self._store.is_shared:
                await self._look()
            else:
                await self._attempts.take_up(await self._take_over(()))
                await asyncio.to_thread(self._presence.clear, [self._store.server_id])
        except errors.UnavailableError:  # the store tells the log itself
            self._is_away = True
        except port.FencedError as error:  # the start took longer than the lease
            self.note_fenced(error.server_id)
        else:
            self._begun.set()

    async def begun(self) -> None:
        """Wait until what there was is taken over."""
        await self._begun.wait()

    async def run(self) -> None:
        """Look after others, and after ourselves, until cancelled."""
        while self._store.is_shared or not self._begun.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._called.wait()
            self._called.clear()
            try:
                await self._rejoin_if_fenced()
            except errors.UnavailableError:
                self._is_away = True
            else:
                await self.begin()

    def note_fenced(self, server_id: str) -> None:
        """Take note that this server was taken for dead; what was told of an earlier one is old."""
        if server_id == self._store.server_id:
            self._is_fenced = True
            self._called.set()

    def _pause_seconds(self) -> float:
        if self._is_away:
            return RETRY_SECONDS
        return min(self._store.lease_seconds / lease.RENEWALS, LOOK_SECONDS)

    def _from_thread(self, server_id: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and we with it
            self._loop.call_soon_threadsafe(self.note_fenced, server_id)

    async def _rejoin_if_fenced(self) -> None:
        if not self._is_fenced:
            return
        old = self._store.server_id
        await self._attempts.begin_anew(self._rejoin)
        self._is_fenced = False
        _log.warning("server.fenced", server=old, now=self._store.server_id)

    async def _rejoin(self) -> None:
        await asyncio.to_thread(self._store.rejoin)
        await self._hold()

    async def _hold(self) -> None:
        try:
            await asyncio.to_thread(self._presence.hold, self._store.server_id)
        except OSError as error:  # no room, perhaps; others see our death later then, by the lease
            _log.warning("server.without_lock", reason=error.strerror)

    async def _look(self) -> None:
        """See who has died, take over from them, and compare what is ours with the store."""
        found = await self._committer.read(lambda store: store.find_servers())
        others = [each for each in found if each.server_id != self._store.server_id]
        near = [each.server_id for each in others if each.scope == self._scope]
        gone = await asyncio.to_thread(self._presence.gone, near)
        expired = {each.server_id for each in others if each.is_expired}
        is_steady = self._lease.is_steady()
        left = {each.server_id for each in others if each.has_left}
        dead = gone | (expired if is_steady else left).intersection(near)
        # The first time also from those of whom not even a record is left.
        if dead or not self._begun.is_set():
            taken = await self._take_over(gone, also_expired=is_steady)
            _tell_gone(dead, left, taken)
            await self._attempts.take_up(taken)
            self._on_taken_over()
        self._tell_silent([each for each in others if each.server_id in expired.difference(near)])
        await asyncio.to_thread(self._presence.clear, {each.server_id for each in found} - dead)
        # Also what a write has done of which we never heard.
        await self._attempts.check()

    async def _take_over(
        self, gone: Collection[str], *, also_expired: bool = True
    ) -> Sequence[records.ActiveAttempt]:
        return await self._committer.write(
            lambda writer: writer.take_over(gone, also_expired=also_expired)
        )

    def _tell_silent(self, silent: Sequence[records.ServerRecord]) -> None:
        """Name servers whose attempts nobody here can account for; each once."""
        for each in silent:
            if each.server_id not in self._told:
                _log.warning("server.silent", server=each.server_id, scope=each.scope)
        self._told = {each.server_id for each in silent}

    def _leave(self) -> None:
        self._lease.stop()
        if self._store.is_shared:
            try:
                self._store.leave()
            except errors.DshpcError as error:  # then it runs out
                _log.warning("server.not_left", reason=str(error))
        self._presence.release()


def _tell_gone(
    dead: Collection[str], left: Collection[str], taken: Sequence[records.ActiveAttempt]
) -> None:
    """Name those whose attempts are ours now: who has left did so in good order."""
    for event, level, gone in (
        ("servers.left", logging.INFO, set(dead).intersection(left)),
        ("servers.dead", logging.WARNING, set(dead).difference(left)),
    ):
        if gone:
            attempts = sum(each.taken_from in gone for each in taken)
            _log.log(level, event, servers=sorted(gone), attempts=attempts)
