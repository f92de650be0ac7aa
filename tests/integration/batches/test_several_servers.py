"""Several servers in one process over one PostgreSQL: who owns what, whatever goes wrong."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from dshpc_server.batches import membership
from dshpc_server.domain import retry
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store import port
from support import store_values
from support.batches_assembly import DEADLINE_SECONDS, Assembly, job
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

Start = Callable[..., Assembly]
FAST = retry.Retries(max_retries=3, first_seconds=0.02, last_seconds=0.05)
Cluster = Callable[..., contextlib.AbstractAsyncContextManager[list[Assembly]]]


@pytest.fixture
def cluster(start: Start, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Run so many servers."""
    monkeypatch.setattr(membership, "LOOK_SECONDS", 0.05)

    @contextlib.asynccontextmanager
    async def running(count: int = 2, **options: object) -> AsyncIterator[list[Assembly]]:
        async with contextlib.AsyncExitStack() as stack:
            made = []
            for _ in range(count):
                made.append(start(url=postgres_url, lease_seconds=60.0, **options))
                await stack.enter_async_context(made[-1].serving())
            yield made

    return running


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def accepted(parts: Assembly, n: int) -> AttemptKey:
    (row,) = await parts.accept(job(n=n))
    assert row.attempt is not None
    return row.attempt.key


def whose(key: AttemptKey, *servers: Assembly) -> Assembly:
    (owner,) = [each for each in servers if key in each.engine.launches]
    return owner


async def test_each_attempt_is_launched_by_one_and_told_to_all(cluster: Cluster) -> None:
    async with cluster(3, cpus=2) as servers:
        wanted = [await accepted(servers[n % 3], n=n) for n in range(6)]
        await until(lambda: sum(len(each.engine.launches) for each in servers) == 6)
        for key in wanted:
            await whose(key, *servers).engine.exited(key, stdout=b"done")
        for each in servers:
            for key in wanted:
                await told(each, key, JobStatus.COMPLETED)
        launched = [key for each in servers for key in each.engine.launches]
    assert sorted(launched, key=str) == sorted(wanted, key=str)


async def told(parts: Assembly, key: AttemptKey, status: JobStatus) -> None:
    """Wait until a server knows this of an attempt, by itself or because another one did it."""
    await until(lambda: any((each.key, each.status) == (key, status) for each in parts.told))


async def test_who_was_taken_for_dead_changes_nothing_and_goes_on_as_another(
    cluster: Cluster,
) -> None:
    async with cluster(2, cpus=4) as servers:
        key = await accepted(servers[0], n=1)
        await until(lambda: any(key in each.engine.launches for each in servers))
        a = whose(key, *servers)
        (b,) = [each for each in servers if each is not a]
        was = a.store.server_id
        a.launcher.folder(key).mkdir(parents=True)
        found = await b.committer.write(lambda writer: writer.take_over([was]))
        await b.dispatcher.take_up(found)
        assert [each.claim.key for each in found] == [key]
        assert key in b.engine.recovered
        # What it has to say comes to nothing, and it notices.
        await a.engine.exited(key, stdout=b"late")
        await until(lambda: a.store.server_id != was)
        await until(lambda: not a.active.keys)
        assert key in a.engine.forgotten
        await b.engine.exited(key, stdout=b"true")
        ended = await b.until_status(key, JobStatus.COMPLETED)
        assert ended.result is not None
        assert b"true" in ended.result
        again = await accepted(a, n=2)
        await until(lambda: again in a.engine.launches or again in b.engine.launches)


async def test_who_has_claimed_nothing_yet_claims_nothing_as_the_dead(cluster: Cluster) -> None:
    async with cluster(2) as (a, b):
        was = a.store.server_id
        await b.committer.write(lambda writer: writer.take_over([was]))
        with pytest.raises(port.FencedError):
            a.store.renew()
        a.dispatcher.wake()
        await until(lambda: a.store.server_id != was)
        a.store.renew()


async def test_a_cancelled_attempt_is_stopped_by_whoever_has_it(cluster: Cluster) -> None:
    async with cluster(2, cpus=1) as servers:
        wanted = [await accepted(servers[0], n=n) for n in range(2)]
        await until(lambda: sum(len(each.engine.launches) for each in servers) == 2)
        for key in wanted:
            owner = whose(key, *servers)
            (other,) = [each for each in servers if each is not owner]
            cancelling = asyncio.create_task(
                other.cancelling.cancel(key.job_id, "enough", wait_seconds=30)
            )
            await owner.engine.cancel_asked(key)
            await owner.engine.lost(key)
            record = await cancelling
            assert record.newest.attempt.status is JobStatus.CANCELLED
            assert key not in other.engine.cancelled


async def test_what_was_cancelled_in_the_queue_is_claimed_by_nobody(cluster: Cluster) -> None:
    async with cluster(2, cpus=1) as servers:
        for n in range(2):
            await accepted(servers[0], n=n)
        await until(lambda: sum(len(each.engine.launches) for each in servers) == 2)
        queued = await accepted(servers[0], n=2)
        record = await servers[1].cancelling.cancel(queued.job_id, "", wait_seconds=30)
        assert record.newest.attempt.status is JobStatus.CANCELLED
        for each in servers:
            for key in list(each.engine.launches):
                await each.engine.exited(key)
        await until(lambda: not any(each.active.keys for each in servers))
    assert not any(queued in each.engine.launches for each in servers)


async def test_a_server_that_leaves_hands_over_what_it_has(
    cluster: Cluster, start: Start, postgres_url: str
) -> None:
    async with cluster(1, cpus=4) as (stays,):
        leaving = start(url=postgres_url, lease_seconds=3600.0, cpus=4)
        async with leaving.serving():
            keys = [await accepted(leaving, n=n) for n in range(4)]
            await until(lambda: len(leaving.engine.launches | stays.engine.launches) == 4)
            for key in leaving.engine.launches:
                leaving.launcher.folder(key).mkdir(parents=True)
            had = set(leaving.engine.launches)
        await until(lambda: had <= set(stays.engine.recovered))
        for key in keys:
            await stays.engine.exited(key, stdout=b"handed over")
            await stays.until_status(key, JobStatus.COMPLETED)


async def test_a_server_of_another_node_leaves_silent_ones_to_their_own(
    cluster: Cluster, start: Start, postgres_url: str
) -> None:
    far = start(url=postgres_url, lease_seconds=1.0, scope="far")
    async with far.storing():
        key = await accepted(far, n=1)
        await far.committer.write(lambda writer: writer.claim(store_values.take, 1))
    async with cluster(1) as (near,):
        await until(
            lambda: any(
                each.scope == "far" and each.is_expired for each in near.store.find_servers()
            )
        )
        await asyncio.sleep(0.2)  # it looks some more times
        assert near.store.find_attempts([key.job_id])[key.job_id].status is JobStatus.CONFIGURING
        assert not near.active.keys


async def test_a_retry_is_started_by_whoever_has_room(cluster: Cluster) -> None:
    async with cluster(2, cpus=1, retries=FAST) as (a, b):
        first = await accepted(a, n=1)
        await until(lambda: first in a.engine.launches or first in b.engine.launches)
        owner = whose(first, a, b)
        await owner.engine.lost(first)
        second = AttemptKey(job_id=first.job_id, number=2)
        await until(lambda: second in a.engine.launches or second in b.engine.launches)
        await whose(second, a, b).engine.exited(second)
        for each in (a, b):
            await told(each, second, JobStatus.COMPLETED)
