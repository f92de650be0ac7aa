"""What can happen to three servers on one store, step by step: what clients ask, what servers do,
what fails. Between any two steps any other can come.
"""

import dataclasses
from collections.abc import Callable, Sequence

from hypothesis import stateful
from hypothesis import strategies as st

from dshpc_server import errors
from dshpc_server.domain.job import AttemptKey
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import CachePolicy, Policy
from dshpc_server.store.port import ContentGoingError, Writer
from dshpc_server.store.records import NewBatch, Report, Row
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support.store_servers_base import LONG_SECONDS, SCOPES, ServersBase
from support.store_servers_look import NAMES, Look
from support.store_servers_process import Server, State, name_of
from support.store_servers_world import LOST, Exit

OUTPUTS = ("p", "q")
CONTENT = [*OUTPUTS, *(f"input of {name}" for name in NAMES)]
WHO = st.integers(0, len(SCOPES) - 1)
WHICH = st.integers(0, 5)
_steps = st.sampled_from((Server.launch, Server.refuse, Server.listen, Server.record, Server.check))
_policies = st.sampled_from((CachePolicy.USE, CachePolicy.USE, *CachePolicy))
ASKED = st.lists(
    st.tuples(st.sampled_from(NAMES), st.builds(Policy, cache=_policies)), min_size=1, max_size=3
)
_success = st.builds(
    Exit,
    event=st.just(Event.SUCCEEDED),
    output=st.sampled_from(OUTPUTS),
    is_inline=st.booleans(),
)
_failure = st.builds(
    Exit, event=st.just(Event.EXITED_NONZERO), exit_code=st.sampled_from((1, 75, 75))
)
EXITS = st.one_of(_success, _failure, st.sampled_from((LOST, LOST, Exit(event=Event.OVER_TIME))))


class ServersSteps(ServersBase):
    """Rules of one step each."""

    def __init__(self, first: SqlStore, pass_time: Callable[[float], None]) -> None:
        super().__init__(first, pass_time)
        self.prepared: list[tuple[NewBatch, set[str]]] = []
        self._recorded: list[Report] = []
        self._batches = 0

    @stateful.rule(who=WHO, asked=ASKED)
    def prepare(self, who: int, asked: list[tuple[str, Policy]]) -> None:
        """Look up what a batch needs, and upload what is missing."""
        server = self.running(who)
        needed = {file_hash for name, _ in asked for file_hash in v.spec(name).inputs.values()}
        if server is None or not self._upload(server, needed - self.world.disk):
            return
        kept = server.store.find_kept_outputs([v.sha(name) for name, _ in asked])
        there = (needed | kept) & self.world.disk
        self._batches += 1
        batch = v.batch(
            f"batch {self._batches}",
            rows=[v.row(index, name, policy=policy) for index, (name, policy) in enumerate(asked)],
            at=v.later(self._batches),
            file_hashes=there,
            lost_outputs=kept - there,
        )
        self.prepared.append((batch, there))

    @stateful.rule(who=WHO)
    def accept(self, who: int) -> None:
        """Accept what was prepared first, unless what it needs is gone by now."""
        server = self.running(who)
        if server is None or not self.prepared:
            return
        batch, there = self.prepared.pop(0)

        def work(writer: Writer) -> Sequence[Row]:
            rows = writer.accept(batch)
            if not there <= self.world.disk:
                raise ContentGoingError(min(there - self.world.disk))
            return rows

        try:
            rows = server.write(work)
        except ContentGoingError:
            return
        self.accepted[batch.batch_id] = [
            (row.index, AttemptKey(job_id=row.attempt.key.job_id, number=row.attempt.chain))
            for row in rows
            if row.attempt is not None
        ]

    @stateful.rule(who=WHO, names=st.lists(st.sampled_from(NAMES), max_size=2, unique=True))
    def cancel(self, who: int, names: list[str]) -> None:
        server, ending = self.running(who), v.an_ending("cancelled")
        job_ids = [v.sha(name) for name in names]
        if server is not None:
            newest = server.write(
                lambda writer: writer.cancel(job_ids, "not needed", lambda _: ending)
            )
            attempts = Look.at(self.first).attempts
            stored = [attempts[attempt.key] for attempt in newest]
            assert all(each.cancel_reason or not each.is_active for each in stored)

    @stateful.rule(who=WHO, what=st.sampled_from(CONTENT))
    def begin_to_delete(self, who: int, what: str) -> None:
        server = self.running(who)
        if server is not None:
            try:
                server.write(lambda writer: writer.delete_file(v.sha(what), self._without_output))
            except errors.InUseError:
                assert what not in OUTPUTS

    @stateful.rule(who=WHO)
    def end_deletions(self, who: int) -> None:
        server = self.running(who)
        if server is not None:
            self.end_deletions_of(server)

    @stateful.rule(who=WHO, limit=st.integers(1, 9))
    def claim(self, who: int, limit: int) -> None:
        server = self.running(who)
        if server is not None:
            self.claim_some(server, limit)

    @stateful.rule(who=WHO, step=_steps)
    def do_a_step(self, who: int, step: Callable[[Server], Sequence[Report] | None]) -> None:
        server = self.running(who)
        if server is not None:
            self._recorded += step(server) or ()  # only `record` tells any

    @stateful.rule(who=WHO)
    def look(self, who: int) -> None:
        server = self.running(who)
        if server is not None:
            self.look_around(server)

    @stateful.rule(who=WHO)
    def kill(self, who: int) -> None:
        self.servers[who].state = State.DEAD

    @stateful.rule(who=WHO)
    def restart(self, who: int) -> None:
        self.restart_dead(self.servers[who])

    @stateful.rule(who=WHO)
    def stop(self, who: int) -> None:
        if self.servers[who].state is State.RUNNING:
            self.servers[who].state = State.STOPPED

    @stateful.rule()
    def go_on(self) -> None:
        for server in self.servers:
            if server.state is State.STOPPED:
                server.state = State.RUNNING

    @stateful.rule(seconds=st.sampled_from((1.0, LONG_SECONDS, LONG_SECONDS, -86_400.0)))
    def let_time_pass(self, seconds: float) -> None:
        self.let_pass(seconds)

    @stateful.rule(which=WHICH, how=EXITS)
    def end_a_process(self, which: int, how: Exit) -> None:
        living = self.world.living()
        if living:
            self.world.end(living[which % len(living)], how)

    @stateful.rule(scope=st.sampled_from(SCOPES))
    def lose_the_runner(self, scope: str) -> None:
        self.world.engines[scope].die()

    @stateful.rule(who=WHO, which=WHICH)
    def report_again(self, who: int, which: int) -> None:
        """A report comes once more, from whomever."""
        server = self.running(who)
        if server is not None and self._recorded:
            report = self._recorded[-1 - which % len(self._recorded)]
            owner = Look.at(self.first).owner(report.key)
            try:
                changes = server.write(lambda writer: writer.record([report]))
            except ContentGoingError:  # its output is being deleted: it would come later
                return
            assert not changes or owner == server.store.server_id, "it owns what it moves"

    @stateful.rule(who=WHO, which=WHICH, event=st.sampled_from((Event.LOST, Event.SUCCEEDED)))
    def report_of_another(self, who: int, which: int, event: Event) -> None:
        """One that has lost its attempts, and does not know, tells what it thinks of them."""
        server, look = self.running(who), Look.at(self.first)
        if server is None:
            return
        mine = (None, server.store.server_id)
        others = [key for key in look.attempts if look.owner(key) not in mine]
        if others:
            key = others[which % len(others)]
            report = Report(
                key=key,
                event=event,
                at=v.NOON,
                ending=v.an_ending(name_of(key)),
                retry_after_seconds=0.0 if event is Event.LOST else None,
            )
            assert server.write(lambda writer: writer.record([report])) == [], "it owns nothing"

    @stateful.rule()
    def rows_show_their_chains(self) -> None:
        self.rows_show_chains()

    def _upload(self, server: Server, file_hashes: set[str]) -> bool:
        """Store content, then its records; whether nobody is deleting any of it."""
        self.world.disk.update(file_hashes)
        files = [
            dataclasses.replace(v.file_record("a file"), file_hash=file_hash)
            for file_hash in sorted(file_hashes)
        ]
        try:
            server.write(lambda writer: [writer.put_file(file) for file in files])
        except ContentGoingError:
            return False
        return True

    def _without_output(self, result: bytes) -> bytes:
        self.stripped.add(result)
        return v.without_output(result)
