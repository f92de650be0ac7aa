"""Three servers, two of them on one node, on one store: what they are, and what holds of them.

What is between the store and the processes is modelled: engines and a disk that do as the real ones
promise, and servers that are cut into steps. The invariants are looked at after every step; at the
end faults stop, and then every job has to end.
"""

from collections.abc import Callable, Sequence

from hypothesis import stateful

from dshpc_server.domain.job import AttemptKey
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import FencedError, Writer
from dshpc_server.store.records import Attempt
from dshpc_server.store.sql.store import SqlStore
from support import store_servers
from support.store_servers_look import Look
from support.store_servers_process import Server, State
from support.store_servers_world import Engine, Exit, World

SCOPES = ("here", "here", "there")
LEASE_SECONDS = 60.0
LONG_SECONDS = 1000.0
"""Over every lease and every delay."""
ROUNDS = 12
"""More than any job needs to end once nothing fails any more."""


class ServersBase(stateful.RuleBasedStateMachine):
    """The servers, what they share, and what always holds."""

    def __init__(self, first: SqlStore, pass_time: Callable[[float], None]) -> None:
        """`first` is emptied before; `pass_time` moves the store's clock, back as well."""
        super().__init__()
        store_servers.empty(first)
        self.first = first
        self._pass_time = pass_time
        self.world = World(engines={scope: Engine() for scope in SCOPES}, disk=set())
        self._told: dict[str, int] = {}
        self.servers = [
            Server(
                store_servers.beside(self.first, scope=scope, lease_seconds=LEASE_SECONDS),
                self.world,
                scope,
                self._tell,
            )
            for scope in SCOPES
        ]
        self.accepted: dict[str, list[tuple[int, AttemptKey]]] = {}
        """By batch: the rows with a job, each with the first of the chain that answers it."""
        self.stripped: set[bytes] = set()
        """Results that were taken an output out of."""
        self._seen = Look.at(self.first)

    def teardown(self) -> None:
        self._drive_to_the_end()

    def running(self, who: int) -> Server | None:
        """This server, or the next one if it is not running."""
        for server in (*self.servers[who:], *self.servers[:who]):
            if server.state is State.RUNNING:
                return server
        return None

    def dead_beside(self, server: Server) -> list[str]:
        """Those of its node whose locks are free."""
        return [
            each.store.server_id
            for each in self.servers
            if each.state is State.DEAD and each.scope == server.scope
        ]

    def look_around(self, server: Server) -> None:
        """Have it take over from those whose locks are free, or whose leases have ended."""
        dead = self.dead_beside(server)
        expired = {each.server_id for each in self.first.find_servers() if each.is_expired}
        gone = expired | set(dead)
        spared = [
            each
            for each in self.servers
            if each is not server
            and (each.scope != server.scope or each.store.server_id not in gone)
        ]
        owned = [each.store.find_active() for each in spared]
        try:
            server.look(dead)
        except FencedError:
            return
        now = [each.store.find_active() for each in spared]
        assert now == owned, "who lives, or is elsewhere, keeps what it has"
        owners = {each.owner for each in Look.at(self.first).attempts.values() if each.is_active}
        near = {each.store.server_id for each in self.servers if each.scope == server.scope}
        assert not owners & near & (gone - {server.store.server_id}), "the dead have nothing"

    def claim_some(self, server: Server, limit: int) -> None:
        """Have it claim; only who has a record does."""
        is_member = server.store.server_id in Look.at(self.first).servers
        try:
            server.claim(limit)
        except FencedError:
            assert not is_member, "who has a record claims"
        else:
            assert is_member, "who was taken for dead claims nothing"

    def end_deletions_of(self, server: Server) -> None:
        """Remove and forget what is marked, in one transaction, whoever marked it."""
        for file_hash in server.store.find_deleting():

            def finish(writer: Writer, file_hash: str = file_hash) -> None:
                if writer.forget_file(file_hash):
                    self.world.disk.discard(file_hash)

            server.write(finish)

    def restart_dead(self, server: Server) -> None:
        """Start another server in its place, if it is dead."""
        if server.state is State.DEAD:
            dead = self.dead_beside(server)
            server.begin_anew()
            server.look(dead)

    def let_pass(self, seconds: float) -> None:
        """Have time pass; who runs renews its lease all the while."""
        self._pass_time(seconds)
        for server in self.servers:
            if server.state is State.RUNNING:
                server.renew()

    @stateful.invariant()
    def invariants_hold(self) -> None:
        before, self._seen = self._seen, Look.at(self.first)
        self._seen.check()
        self._seen.check_after(before, self.stripped)
        self._seen.check_content(self.world.disk)
        living = self.world.living()
        jobs = [key.job_id for key in living]
        assert len(jobs) == len(set(jobs)), "of a job at most one process lives"
        for key in living:
            assert self._seen.attempts[key].is_active, "what lives is known to"
        assert self._seen.revisions() == self._told, "every change was told"

    def rows_show_chains(self) -> None:
        """Every row that was acknowledged shows the last attempt of its chain, once."""
        attempts = Look.at(self.first).attempts
        last = {(each.job_id, each.chain): key for key, each in attempts.items()}
        for batch_id, expected in self.accepted.items():
            rows = self.first.find_rows(batch_id, first_index=0, limit=99)
            shown = [(row.index, row.attempt.key) for row in rows if row.attempt is not None]
            assert shown == [(index, last[key.job_id, key.number]) for index, key in expected]

    def _tell(self, changes: Sequence[Attempt]) -> None:
        for change in changes:
            before = self._told.get(change.key.job_id, 0)
            assert change.revision == before + 1, "revisions rise by one"
            self._told[change.key.job_id] = change.revision

    def _drive_to_the_end(self) -> None:
        for _ in range(ROUNDS):
            if not self._is_busy():
                break
            for server in self.servers:
                self.restart_dead(server)
                server.state = State.RUNNING
                self.look_around(server)
                self.end_deletions_of(server)
                self.claim_some(server, 9)
                server.launch()
                server.listen()
                server.record()
            for engine in self.world.engines.values():
                for key in list(engine.living):
                    engine.end(key, Exit(event=Event.SUCCEEDED, output="p"))
            self.let_pass(LONG_SECONDS)
            self.invariants_hold()
        assert not self._is_busy(), "once faults stop every job ends"
        self.rows_show_chains()

    def _is_busy(self) -> bool:
        attempts = Look.at(self.first).attempts.values()
        is_active = any(each.is_active for each in attempts)
        return is_active or bool(self.first.find_deleting() or self.world.living())
