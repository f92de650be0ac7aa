"""Reading the methods folder again: on a timer, and when it is asked for.

Promises: loads never overlap, and whoever asks gets a load that begins after the asking, however
many asked meanwhile. A folder that cannot be read, or a load that fails, leaves the methods as they
were. What is wrong is told when it comes up and whenever somebody asked, not with every turn of the
timer.

A load on the timer passes over script folders that have not changed (`methods.marks`); one that
was asked for reads and checks everything, snapshots included.
"""

import asyncio

import structlog

from dshpc_server.methods import catalog, errors, folder

_log = structlog.get_logger(__name__)


class Reloading:
    """Loads a catalog. `first` comes first, then one task calls `run`; that task is its owner's."""

    def __init__(
        self, installed: catalog.Catalog, *, interval_seconds: float, asked: asyncio.Event
    ) -> None:
        """Load every `interval_seconds` (0: never on a timer), and when `asked` is set.

        `asked` is cleared when the load that answers it begins.
        """
        self._catalog = installed
        self._interval_seconds = interval_seconds
        self._asked = asked
        self._told: frozenset[folder.BrokenManifest] = frozenset()
        self._told_failure = ""

    def first(self) -> None:
        """Load for the first time, blocking; raises MethodsDirError."""
        report = self._catalog.load()
        self._tell_broken(report, anew=True)
        _log.info("methods.loaded", methods=len(report.loaded), broken=len(report.broken))

    async def run(self) -> None:
        """Load again and again, until cancelled."""
        while True:
            asked = await self._wait()
            await asyncio.to_thread(self._reload, asked=asked)

    async def _wait(self) -> bool:
        """Wait until it is time; whether somebody asked."""
        try:
            async with asyncio.timeout(self._interval_seconds or None):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _reload(self, *, asked: bool) -> None:
        try:
            report = self._catalog.load(skip_unchanged=not asked)
        except (errors.MethodsDirError, OSError) as error:
            self._tell_failure(errors.reason(error), anew=asked)
        except Exception:  # noqa: BLE001 - a bug here must not end a server that has its methods
            _log.exception("methods.reload_failed")
        else:
            self._told_failure = ""
            self._tell_broken(report, anew=asked)
            self._tell_changes(report, anew=asked)

    def _tell_failure(self, reason: str, *, anew: bool) -> None:
        if anew or reason != self._told_failure:
            _log.warning("methods.unreadable", reason=reason)
        self._told_failure = reason

    def _tell_broken(self, report: catalog.LoadReport, *, anew: bool) -> None:
        for broken in report.broken:
            if anew or broken not in self._told:
                _log.warning("method.broken", file=str(broken.file), reason=broken.reason)
        self._told = frozenset(report.broken)

    def _tell_changes(self, report: catalog.LoadReport, *, anew: bool) -> None:
        if anew or report.added or report.changed or report.removed:
            _log.info(
                "methods.reloaded",
                methods=len(report.loaded),
                broken=len(report.broken),
                added=report.added,
                changed=report.changed,
                removed=report.removed,
            )
