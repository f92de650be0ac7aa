"""Membership: whom a server takes over from, and what it does when it was taken for dead itself."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, cast

import pytest
import structlog

from dshpc_server import errors
from dshpc_server.batches import lease, membership
from dshpc_server.store import port, records
from support import methods_site, store_values

DEADLINE_SECONDS = 30.0
NOTHING_TAKEN: list[Any] = [("took over", set()), "took up 0"]
HERE = "local/here"


def server(
    name: str, *, scope: str = HERE, expired: bool = False, left: bool = False
) -> records.ServerRecord:
    return records.ServerRecord(
        server_id=name,
        scope=scope,
        joined_at=store_values.NOON,
        is_expired=expired,
        has_left=left,
    )


def away() -> errors.UnavailableError:
    return errors.UnavailableError("the database is away", retry_after_seconds=1)


@dataclasses.dataclass
class World:
    """A store with servers, the committer on it, the locks, and who has the attempts."""

    servers: list[records.ServerRecord] = dataclasses.field(default_factory=list)
    is_shared: bool = True
    lease_seconds: float = 3600.0
    server_id: str = "me-1"
    found: list[records.ActiveAttempt] = dataclasses.field(default_factory=list)
    """What those who are gone have left."""
    dead: set[str] = dataclasses.field(default_factory=set)
    """Whose lock can be taken."""
    did: list[Any] = dataclasses.field(default_factory=list)
    renewals: int = 0
    failures: list[Exception] = dataclasses.field(default_factory=list)
    """What the next renewals fail with."""
    read_failures: list[Exception] = dataclasses.field(default_factory=list)
    renewed: threading.Event = dataclasses.field(default_factory=threading.Event)

    def renew(self) -> None:
        self.renewals += 1
        self.renewed.set()
        if self.failures:
            raise self.failures.pop(0)

    def rejoin(self) -> None:
        self.server_id = f"me-{int(self.server_id[-1]) + 1}"

    def leave(self) -> None:
        self.did.append("left")

    async def read(self, question: Callable[[port.Reader], Any]) -> Any:  # noqa: ANN401 - whatever is asked
        if self.read_failures:
            raise self.read_failures.pop(0)
        return question(cast("Any", self))

    async def write(self, work: Callable[[port.Writer], Any]) -> Any:  # noqa: ANN401 - whatever it answers
        return work(cast("Any", self))

    def find_servers(self) -> Sequence[records.ServerRecord]:
        return [server(self.server_id), *self.servers]

    def take_over(
        self, dead: Collection[str], *, also_expired: bool = True
    ) -> Sequence[records.ActiveAttempt]:
        self.did.append(("took over", set(dead)))
        self.servers = [
            each
            for each in self.servers
            if each.scope != HERE
            or not ((each.is_expired and also_expired) or each.server_id in dead)
        ]
        found, self.found = self.found, []
        return found

    def hold(self, server_id: str) -> None:
        self.did.append(f"is {server_id}")

    def release(self) -> None:
        self.did.append("gone")

    def gone(self, server_ids: Collection[str]) -> set[str]:
        return self.dead.intersection(server_ids)

    def clear(self, living: Collection[str]) -> None:
        del living

    async def take_up(self, found: Sequence[records.ActiveAttempt]) -> None:
        self.did.append(f"took up {len(found)}")

    async def check(self) -> None:
        """Nothing is known."""

    async def begin_anew(self, rejoin: Callable[[], Awaitable[None]]) -> None:
        self.did.append("forgot")
        await rejoin()


@contextlib.asynccontextmanager
async def member(
    world: World, clock: methods_site.HandClock | None = None
) -> AsyncIterator[membership.Membership]:
    made = membership.Membership(
        store=cast("Any", world),
        committer=cast("Any", world),
        attempts=world,
        presence=world,
        scope=HERE,
        clock=clock or methods_site.HandClock(),
    )
    async with made:
        yield made


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[membership.Membership]:
    async with member(world) as made:
        await made.begin()
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(membership, "LOOK_SECONDS", 0.005)


async def test_a_server_is_there_before_it_looks_and_leaves_before_it_is_gone() -> None:
    world = World()
    async with member(world) as made:
        await made.begin()
    assert world.did == ["is me-1", *NOTHING_TAKEN, "left", "gone"]


async def test_alone_a_server_takes_up_what_was_left_once_and_renews_nothing() -> None:
    world = World(is_shared=False, lease_seconds=0.001)
    async with running(world):
        pass
    assert world.did == ["is me-1", *NOTHING_TAKEN, "gone"]
    assert world.renewals == 0


async def test_whose_lease_has_run_out_is_dead_and_so_is_whose_lock_can_be_taken() -> None:
    world = World([server("expired", expired=True), server("killed"), server("alive")])
    world.dead = {"killed"}
    clock = methods_site.HandClock()
    async with member(world, clock) as made:
        await made.begin()
        assert world.did[1:] == [("took over", {"killed"}), "took up 0"]
        # The store may have been away for all: others are given the time to renew theirs.
        assert [each.server_id for each in world.servers] == ["expired", "alive"]
        clock.advance(world.lease_seconds / lease.RENEWALS)
        await made.begin()
        assert [each.server_id for each in world.servers] == ["alive"]


async def test_the_log_names_who_died_and_who_left_and_how_much_each_had() -> None:
    others = [server("killed"), server("stopped", expired=True, left=True), server("alive")]
    world = World(
        others,
        found=[store_values.left_by(each, "job") for each in ("stopped", "killed", "killed")],
    )
    world.dead = {"killed", "stopped"}
    with structlog.testing.capture_logs() as logs:
        async with member(world) as made:
            await made.begin()
    assert world.did[1:3] == [("took over", {"killed", "stopped"}), "took up 3"]
    assert logs == [
        {"event": "servers.left", "log_level": "info", "servers": ["stopped"], "attempts": 1},
        {"event": "servers.dead", "log_level": "warning", "servers": ["killed"], "attempts": 2},
    ]


async def test_a_lease_that_cannot_be_renewed_is_told_once_unless_the_store_says_it() -> None:
    world = World(lease_seconds=0.01)
    with structlog.testing.capture_logs() as logs:
        async with member(world):
            world.failures += [away(), LookupError("a bug"), away(), LookupError("a bug")]
            await until(lambda: not world.failures)
            count = world.renewals
            await until(lambda: world.renewals > count + 1)
    assert [(each["event"], each.get("reason")) for each in logs] == [
        ("lease.not_renewed", "LookupError: a bug"),
        ("lease.renewed", None),
    ]


async def test_who_dies_later_is_found_by_looking_again() -> None:
    world = World([server("other")])
    async with running(world):
        assert world.did == ["is me-1", *NOTHING_TAKEN]
        world.dead = {"other"}
        await until(lambda: world.did[3:] == [("took over", {"other"}), "took up 0"])
        assert not world.servers


async def test_the_attempts_of_another_node_are_nobodys_to_take_and_it_is_named_once() -> None:
    world = World([server("far", scope="local/there", expired=True)])
    world.dead = {"far"}  # a lock there says nothing here
    with structlog.testing.capture_logs() as logs:
        async with running(world):
            for _ in range(3):
                world.renewed.clear()
                await asyncio.sleep(0.02)
    assert world.did == ["is me-1", *NOTHING_TAKEN, "left", "gone"]
    silent = [each for each in logs if each["event"] == "server.silent"]
    assert [(each["server"], each["scope"]) for each in silent] == [("far", "local/there")]


async def test_the_lease_is_renewed_while_the_loop_stands_still() -> None:
    world = World(lease_seconds=0.01)
    async with member(world):
        for _ in range(5):
            world.renewed.clear()
            assert world.renewed.wait(DEADLINE_SECONDS)  # the loop waits here
    count = world.renewals
    assert count >= 5
    assert not [each for each in threading.enumerate() if each.name == "lease"]


async def test_who_was_taken_for_dead_forgets_all_and_goes_on_as_another() -> None:
    world = World(lease_seconds=0.01)
    with structlog.testing.capture_logs() as logs:
        async with running(world) as made:
            world.failures.append(port.FencedError("me-1"))
            await until(lambda: world.server_id == "me-2")
            await until(lambda: "is me-2" in world.did)
            made.note_fenced("me-1")  # told late
            await asyncio.sleep(0.02)
            assert world.server_id == "me-2"
    assert world.did == ["is me-1", *NOTHING_TAKEN, "forgot", "is me-2", "left", "gone"]
    fenced = [each for each in logs if each["event"] == "server.fenced"]
    assert [(each["server"], each["now"]) for each in fenced] == [("me-1", "me-2")]


async def test_rejoining_is_tried_until_the_store_lets_us() -> None:
    world = World()
    rejoin, refusals = world.rejoin, [away(), away()]

    def reluctant() -> None:
        if refusals:
            raise refusals.pop()
        rejoin()

    world.rejoin = reluctant  # type: ignore[method-assign]  # the store is away for a while
    async with running(world) as made:
        made.note_fenced("me-1")
        await until(lambda: "is me-2" in world.did)
    assert world.did.count("forgot") == 3


async def test_after_the_store_was_away_for_all_a_lease_says_nothing_for_its_length() -> None:
    clock = methods_site.HandClock()
    world = World(lease_seconds=0.01)
    async with member(world, clock) as made:
        await made.begin()
        world.did.clear()
        world.failures.append(away())
        await until(lambda: not world.failures)
        world.renewed.clear()
        assert await asyncio.to_thread(world.renewed.wait, DEADLINE_SECONDS)
        world.servers = [server("as away as we", expired=True), server("killed")]
        await made.begin()
        assert world.did == []
        world.dead = {"killed"}  # which is proof at any time
        await made.begin()
        assert world.did == [("took over", {"killed"}), "took up 0"]
        assert [each.server_id for each in world.servers] == ["as away as we"]
        world.servers = [server("silent since", expired=True)]
        clock.advance(0.01)
        await made.begin()
        assert world.did[2:] == NOTHING_TAKEN  # the store knows whose lease has run out


async def test_a_store_that_is_away_at_the_start_is_waited_for() -> None:
    world = World([server("killed")], is_shared=True)
    world.dead = {"killed"}
    world.read_failures = [away(), away()]
    async with member(world) as made:
        await made.begin()
        begun = asyncio.create_task(made.begun())
        await asyncio.sleep(0)
        assert not begun.done()
        task = asyncio.create_task(made.run())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await begun
        assert "took up 0" in world.did
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_lease_that_cannot_be_ended_runs_out() -> None:
    world = World()

    def refusing() -> None:
        raise away()

    world.leave = refusing  # type: ignore[method-assign]  # the store is away
    async with member(world):
        pass
    assert world.did == ["is me-1", "gone"]


async def test_a_start_that_took_longer_than_the_lease_is_begun_anew() -> None:
    world = World()
    take_over, refusals = world.take_over, [port.FencedError("me-1")]

    def taken_for_dead(
        dead: Collection[str], *, also_expired: bool = True
    ) -> Sequence[records.ActiveAttempt]:
        if refusals:
            raise refusals.pop()
        return take_over(dead, also_expired=also_expired)

    world.take_over = taken_for_dead  # type: ignore[method-assign]  # by another server
    async with running(world) as made:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await made.begun()
        assert world.did == ["is me-1", "forgot", "is me-2", *NOTHING_TAKEN]


async def test_a_lock_that_cannot_be_held_keeps_no_server_from_serving() -> None:
    world = World()

    def full(server_id: str) -> None:
        del server_id
        raise OSError(28, "No space left on device")

    world.hold = full  # type: ignore[method-assign]  # the disk is full
    with structlog.testing.capture_logs() as logs:
        async with member(world) as made:
            await made.begin()
    assert "server.without_lock" in [each["event"] for each in logs]
    assert world.did == [*NOTHING_TAKEN, "left", "gone"]
