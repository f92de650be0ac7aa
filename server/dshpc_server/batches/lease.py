"""A server's lease, and the thread that renews it.

Promises: no long write, no busy event loop and no large request keeps it from being renewed; and
while the store is away for everybody, nobody is called dead for that.
"""

import threading
from collections.abc import Callable

from dshpc_server import clock, errors, outage
from dshpc_server.store import port

RENEWALS = 3
"""In the length of a lease."""
RETRY_SECONDS = 0.5
"""Pause after the store was not available."""


class Lease:
    """The lease and the thread that renews it."""

    def __init__(
        self, store: port.Store, on_fenced: Callable[[str], None], clock: clock.Clock
    ) -> None:
        """`on_fenced` is told, from the thread, as which server we were taken for dead."""
        self._store = store
        self._on_fenced = on_fenced
        self._clock = clock
        self._outage = outage.Outage(clock, begins="lease.not_renewed", ends="lease.renewed")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="lease")
        # Who starts after the store was away for all is not to believe the leases before the others
        # have had the time to renew theirs. Those that are certainly dead have lost their locks.
        self._steady_from = clock.monotonic() + store.lease_seconds / RENEWALS

    def start(self) -> None:
        """Begin to renew it."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, if there is one, and wait for that."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def is_steady(self) -> bool:
        """Whether others had time to renew theirs, too, since the store was away for us all."""
        return self._clock.monotonic() >= self._steady_from

    def _renew_until_stopped(self) -> None:
        """Be the thread."""
        lease_seconds = self._store.lease_seconds
        interval_seconds = lease_seconds / RENEWALS
        seconds = interval_seconds
        while not self._stopping.wait(seconds):
            try:
                self._store.renew()
            except port.FencedError as error:
                self._on_fenced(error.server_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, to stop trying is worse
                if not isinstance(error, errors.UnavailableError):  # which the store tells itself
                    self._outage.failed(f"{type(error).__name__}: {error}")
                # They cannot have renewed theirs either. Before they have had the time to, a lease
                # that has run out says nothing.
                self._steady_from = self._clock.monotonic() + lease_seconds
                seconds = min(interval_seconds, RETRY_SECONDS)
            else:
                self._outage.works()
                seconds = interval_seconds
