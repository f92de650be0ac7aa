"""What is known of a cluster: what it can never run, before and after it has answered."""

from typing import Any, cast

import pytest

from dshpc_server.clock import SystemClock
from dshpc_server.domain.job import Resources
from dshpc_server.engine.slurm import arrays, cluster, standing

LIMITS = cluster.Limits(
    max_array_tasks=1000,
    max_jobs=10_000,
    has_accounting=False,
)
MEMORY_BYTES = 2**30
WIDE = Resources(cpus=65)


class Answering:
    """A cluster that says what it has, or does not answer."""

    def __init__(self) -> None:
        self.nodes = [Resources(cpus=64, memory_bytes=MEMORY_BYTES), Resources(cpus=4, gpus=2)]
        self.is_there = True

    async def limits(self) -> cluster.Limits:
        if not self.is_there:
            raise cluster.UnreachableError("scontrol", "it is away")
        return LIMITS

    async def partition(self) -> cluster.Partition:
        return cluster.Partition(
            nodes=self.nodes,
            cpus=68,
            memory_bytes=MEMORY_BYTES,
            gpus=2,
            longest_seconds=None,
        )


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def known(answering: Answering) -> standing.Standing:
    return standing.Standing(
        cast("Any", answering), queued_jobs=10, packs_below_seconds=5.0, clock=SystemClock()
    )


async def test_of_a_cluster_that_has_not_answered_nobody_knows_what_it_cannot_run(
    answering: Answering, known: standing.Standing
) -> None:
    assert known.why_never(WIDE) is None
    answering.is_there = False
    with pytest.raises(cluster.UnreachableError) as error:
        await known.refresh(is_doubted=False)
    known.fails(error.value)
    assert known.why_never(WIDE) is None


@pytest.mark.parametrize(
    "wanted",
    [
        Resources(cpus=64),
        Resources(cpus=4, gpus=2),
        Resources(memory_bytes=MEMORY_BYTES - arrays.WRAPPER_BYTES),
    ],
)
async def test_what_a_node_has_it_can_run(known: standing.Standing, wanted: Resources) -> None:
    await known.refresh(is_doubted=False)
    assert known.why_never(wanted) is None


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (WIDE, "65 asked, 64 available on the largest node"),
        (Resources(cpus=5, gpus=1), "no node has all of it"),
        # Its wrapper needs a little, too.
        (Resources(memory_bytes=MEMORY_BYTES), f"{MEMORY_BYTES} asked, "),
    ],
)
async def test_what_no_node_has_it_can_never_run(
    known: standing.Standing, wanted: Resources, told: str
) -> None:
    await known.refresh(is_doubted=False)
    assert told in (known.why_never(wanted) or "")


async def test_what_is_known_counts_while_it_does_not_answer(
    answering: Answering, known: standing.Standing
) -> None:
    await known.refresh(is_doubted=False)
    answering.is_there = False
    known.fails(cluster.UnreachableError("squeue", "it is away"))
    with pytest.raises(cluster.UnreachableError):
        await known.refresh(is_doubted=False)
    assert known.why_never(WIDE) is not None
    assert known.why_never(Resources(cpus=64)) is None


async def test_a_cluster_that_has_grown_can_run_more(
    answering: Answering, known: standing.Standing
) -> None:
    await known.refresh(is_doubted=False)
    answering.nodes = [Resources(cpus=128)]
    known.fails(cluster.UnreachableError("squeue", "it is being grown"))
    await known.refresh(is_doubted=False)
    assert known.why_never(WIDE) is None
    assert known.capacity().nodes == (Resources(cpus=128),)
