"""One server as its store and its engine know it: what it remembers, and what it does with that.

It is cut into steps, so that it can be killed or stopped between any two of them: a claim that is
not launched yet, a report that is made and not recorded, an output that is stored and not told of.
"""

import enum
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from dshpc_server.domain import retry
from dshpc_server.domain.job import AttemptKey
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import ContentGoingError, FencedError, Writer
from dshpc_server.store.records import ActiveAttempt, Attempt, Report
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support.store_servers_world import Exit, World

T = TypeVar("T")

RETRIES = retry.Retries(max_retries=2, first_seconds=10.0, last_seconds=15.0)


class State(enum.Enum):
    """What a process of an operating system can be."""

    RUNNING = enum.auto()
    STOPPED = enum.auto()
    """It does nothing, and holds what it holds."""
    DEAD = enum.auto()


class Server:
    """One server process after the other, of one scope."""

    def __init__(
        self, store: SqlStore, world: World, scope: str, tell: Callable[[Sequence[Attempt]], None]
    ) -> None:
        """`tell` is told every change that a commit of this server made."""
        self.store = store
        self.scope = scope
        self.state = State.RUNNING
        self.reports: list[Report] = []
        """Made, and not recorded yet."""
        self._world = world
        self._engine = world.engines[scope]
        self._tell = tell
        self._known: dict[AttemptKey, int] = {}
        """How many retries led to each of its attempts."""
        self._to_launch: list[AttemptKey] = []
        self._told: set[AttemptKey] = set()
        self._started: set[AttemptKey] = set()

    def write(self, work: Callable[[Writer], T]) -> T:
        """Commit one work; what was fenced forgets everything and is another server then."""
        commit = self.store.write([work])
        self._tell(commit.changes)
        (answer,) = commit.answers
        if isinstance(answer, FencedError):
            self.begin_anew()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def renew(self) -> None:
        """Renew the lease, as it does all the time while it runs."""
        try:
            self.store.renew()
        except FencedError:
            self.begin_anew()

    def begin_anew(self) -> None:
        """Be a server that knows nothing, as after a start."""
        self.reports.clear()
        self._known.clear()
        self._to_launch.clear()
        self._told.clear()
        self._started.clear()
        self.state = State.RUNNING
        self.store.rejoin()

    def claim(self, limit: int) -> None:
        """Claim, and keep what was claimed for the launch."""
        for claim in self.write(lambda writer: writer.claim(v.take, limit)).taken:
            self._known[claim.key] = claim.retries
            self._to_launch.append(claim.key)

    def launch(self) -> None:
        """Hand over what was claimed."""
        while self._to_launch:
            self._engine.start(self._to_launch.pop(0))

    def refuse(self) -> None:
        """Find that what was claimed cannot be launched, here and now.

        Somebody else may have had it before, or have it now, so the engine has the last word.
        """
        while self._to_launch:
            self._engine.refuse(self._to_launch.pop(0))

    def listen(self) -> None:
        """Take in what the engine tells; an output is stored before anybody is told of it."""
        for key in self._known:
            how = self._engine.exits.get(key)
            if how is not None and key not in self._told:
                self._report(key, how)
            elif key in self._engine.living and key not in self._started:
                self._started.add(key)
                self.reports.append(Report(key=key, event=Event.STARTED, at=v.NOON))

    def record(self) -> Sequence[Report]:
        """Record what is reported; return it. Content that went meanwhile is stored again."""
        recorded = self.reports
        kept = self._kept_outputs(recorded)

        def work(writer: Writer) -> None:
            writer.record(recorded)
            gone = kept - self._world.disk
            if gone:
                raise ContentGoingError(min(gone))

        try:
            self.write(work)
        except ContentGoingError:
            self._world.disk.update(kept)
            return ()
        self.reports = []
        for report in recorded:
            if report.ending is not None:
                self._known.pop(report.key, None)
        return recorded

    def look(self, dead: Collection[str]) -> None:
        """Take over from those that are known to be dead, or silent for too long; then compare."""
        self._take_up(self.write(lambda writer: writer.take_over(dead)))
        self.check()

    def check(self) -> None:
        """Compare what is known with the store: whose it is, and what is to be stopped."""
        active = self.store.find_active()
        own = {each.claim.key for each in active}
        for key in self._known.keys() - own:
            del self._known[key]
        self._to_launch = [key for key in self._to_launch if key in own]
        self._take_up(active)

    def _take_up(self, found: Sequence[ActiveAttempt]) -> None:
        """Go on with these: what nobody launched is launched, what is to be stopped is stopped."""
        for each in found:
            key = each.claim.key
            if key not in self._known:
                self._known[key] = each.claim.retries
                self._to_launch.append(key)
            if each.cancel_reason is not None:
                self._engine.stop(key)

    def _report(self, key: AttemptKey, how: Exit) -> None:
        self._told.add(key)
        ending = v.an_ending(
            name_of(key), output=how.output, is_inline=how.is_inline, exit_code=how.exit_code
        )
        if how.output and not how.is_inline:
            self._world.disk.add(v.sha(how.output))
        delay = RETRIES.delay_seconds(
            event=how.event, exit_code=how.exit_code, retries=self._known[key], chance=0.5
        )
        self.reports.append(
            Report(key=key, event=how.event, at=v.NOON, ending=ending, retry_after_seconds=delay)
        )

    def _kept_outputs(self, reports: Sequence[Report]) -> set[str]:
        endings = [report.ending for report in reports if report.ending is not None]
        return {
            each.output_hash for each in endings if each.output_hash and not each.output_is_inline
        }


def name_of(key: AttemptKey) -> str:
    """What the result of an attempt says of itself."""
    return f"{key.job_id} {key.number}"
