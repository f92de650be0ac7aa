"""Admission where jobs go to nodes, and into a queue: what is rejected, and with what there is."""

import dataclasses

import pytest

from dshpc_server.batches import admission
from dshpc_server.batches.request import RequestedResources
from dshpc_server.domain.job import Resources
from dshpc_server.domain.rejection import Reason, Rejection
from dshpc_server.engine.port import Capacity
from support import methods_site

WIDE = Resources(cpus=16, memory_bytes=4000, gpus=0)
LARGE = Resources(cpus=8, memory_bytes=64000, gpus=2)
CLUSTER = Capacity(
    cpus=40,
    memory_bytes=72000,
    gpus=2,
    nodes=[WIDE, WIDE, LARGE],
    longest_seconds=3600.0,
    queued_jobs=3,
)
UNKNOWN = Capacity(cpus=2**31 - 1, memory_bytes=2**63 - 1, gpus=2**31 - 1, queued_jobs=3)
DEFAULTS = admission.Defaults(
    cpus=1, memory_bytes=0, timeout_seconds=86_400.0, max_timeout_seconds=100_000.0
)
SILENT = methods_site.version()
SLOW = methods_site.version(timeout_seconds=90_000)
NOTHING_USED = Resources(cpus=0, memory_bytes=0, gpus=0)


def refusal(asked: RequestedResources, capacity: Capacity = CLUSTER) -> Rejection:
    rejection = admission.granted(asked, SILENT, DEFAULTS, capacity)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.RESOURCES_UNAVAILABLE
    for violation in rejection.violations:
        assert f"{violation.field}: {violation.description}" in rejection.message
    return rejection


@pytest.mark.parametrize("node", [WIDE, LARGE])
def test_all_of_any_node_can_be_asked_for(node: Resources) -> None:
    asked = RequestedResources(cpus=node.cpus, memory_bytes=node.memory_bytes, gpus=node.gpus)
    assert admission.granted(asked, SILENT, DEFAULTS, CLUSTER) == node


def test_more_than_any_node_has_is_rejected_with_what_the_largest_has() -> None:
    rejection = refusal(RequestedResources(cpus=17, memory_bytes=64001, gpus=3))
    assert [(v.field, v.description) for v in rejection.violations] == [
        ("resources.cpus", "17 asked, 16 available on the largest node"),
        ("resources.memory_bytes", "64001 asked, 64000 available on the largest node"),
        ("resources.gpus", "3 asked, 2 available on the largest node"),
    ]
    assert [v.field for v in refusal(RequestedResources(cpus=40)).violations] == ["resources.cpus"]


def test_what_no_single_node_has_all_of_is_rejected_with_the_shapes_of_the_nodes() -> None:
    (violation,) = refusal(RequestedResources(cpus=16, gpus=1)).violations
    assert violation.field == "resources"
    assert violation.description == (
        "cpus 16, memory_bytes 0, gpus 1 asked, no node has all of it; there are"
        " 2 with cpus 16, memory_bytes 4000, gpus 0; 1 with cpus 8, memory_bytes 64000, gpus 2"
    )


def test_of_many_shapes_the_most_frequent_are_told() -> None:
    nodes = [
        Resources(cpus=n, memory_bytes=1000 - n) for n in range(1, 100) for _ in range(1 + n % 7)
    ]
    many = dataclasses.replace(CLUSTER, nodes=nodes)
    (violation,) = refusal(RequestedResources(cpus=99, memory_bytes=950), many).violations
    assert violation.description.endswith("; and others")
    assert violation.description.count("7 with") == 5


def test_a_cluster_without_nodes_runs_nothing() -> None:
    empty = dataclasses.replace(CLUSTER, nodes=[])
    assert "1 asked, 0 available" in refusal(RequestedResources(), empty).message


def test_nothing_is_rejected_before_it_is_known_what_there_is() -> None:
    asked = RequestedResources(cpus=10**6, memory_bytes=10**12, gpus=100)
    granted = admission.granted(asked, SILENT, DEFAULTS, UNKNOWN)
    assert granted == Resources(cpus=10**6, memory_bytes=10**12, gpus=100)
    assert admission.granted_seconds(None, SLOW, DEFAULTS, UNKNOWN) == 90_000.0
    zero = dataclasses.replace(UNKNOWN, cpus=0, memory_bytes=0, gpus=0)
    assert admission.refusal(granted, zero) is None


@pytest.mark.parametrize(("asked", "method"), [(90_000.0, SILENT), (None, SLOW), (90_000.0, SLOW)])
def test_a_timeout_that_was_asked_for_and_is_too_long_is_rejected(
    asked: float | None, method: object
) -> None:
    version = SLOW if method is SLOW else SILENT
    rejection = admission.granted_seconds(asked, version, DEFAULTS, CLUSTER)
    assert isinstance(rejection, Rejection)
    (violation,) = rejection.violations
    assert (violation.field, violation.description) == (
        "timeout",
        "90000 s asked, 3600 s at most",
    )
    assert "timeout: 90000 s asked, 3600 s at most" in rejection.message


def test_a_timeout_that_nobody_asked_for_is_cut() -> None:
    assert admission.granted_seconds(None, SILENT, DEFAULTS, CLUSTER) == 3600.0
    assert admission.granted_seconds(3600.0, SLOW, DEFAULTS, CLUSTER) == 3600.0
    assert admission.granted_seconds(1.5, SLOW, DEFAULTS, CLUSTER) == 1.5


def test_a_queue_takes_attempts_by_their_number_whatever_they_need() -> None:
    huge = Resources(cpus=10**6, memory_bytes=10**15, gpus=100)
    room = admission.Room(CLUSTER, huge, 1)
    assert room.most_jobs == 2
    assert room.take(huge)
    assert room.shortage(huge) == ""
    assert room.take(huge)
    assert room.most_jobs == 0
    assert not room.take(Resources())
    assert room.shortage(Resources()) == (
        "a place in the queue of the engine: 3 attempts are in it"
    )


def test_a_queue_that_has_more_than_it_takes_has_no_room() -> None:
    room = admission.Room(CLUSTER, NOTHING_USED, 7)
    assert room.most_jobs == 0
    assert not room.take(Resources())
