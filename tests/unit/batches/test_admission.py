"""Admission: what a row gets, whether it can ever fit, and what is left while jobs run."""

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc_server.batches import admission
from dshpc_server.batches.request import RequestedResources
from dshpc_server.domain.job import Resources
from dshpc_server.domain.rejection import Reason, Rejection
from dshpc_server.engine.port import Capacity
from support import methods_site

CAPACITY = Capacity(cpus=8, memory_bytes=1000, gpus=1)
DEFAULTS = admission.Defaults(
    cpus=1, memory_bytes=100, timeout_seconds=60.0, max_timeout_seconds=600.0
)
SILENT = methods_site.version()
HUNGRY = methods_site.version(
    resources={"cpus": 4, "memory_bytes": 500, "gpus": 1}, timeout_seconds=30
)
NOTHING_USED = Resources(cpus=0, memory_bytes=0, gpus=0)

resources = st.builds(
    Resources, cpus=st.integers(1, 5), memory_bytes=st.integers(0, 600), gpus=st.integers(0, 1)
)


def granted(
    asked: RequestedResources, *, hungry: bool = False, capacity: Capacity = CAPACITY
) -> Resources | Rejection:
    return admission.granted(asked, HUNGRY if hungry else SILENT, DEFAULTS, capacity)


def test_the_rows_word_counts_before_the_methods_and_that_before_the_default() -> None:
    assert granted(RequestedResources()) == Resources(cpus=1, memory_bytes=100, gpus=0)
    assert granted(RequestedResources(), hungry=True) == Resources(cpus=4, memory_bytes=500, gpus=1)
    assert granted(RequestedResources(cpus=2, memory_bytes=7), hungry=True) == Resources(
        cpus=2, memory_bytes=7, gpus=1
    )


def test_all_of_the_machine_can_be_asked_for() -> None:
    asked = RequestedResources(cpus=8, memory_bytes=1000, gpus=1)
    assert granted(asked) == Resources(cpus=8, memory_bytes=1000, gpus=1)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (RequestedResources(cpus=9), "resources.cpus"),
        (RequestedResources(memory_bytes=1001), "resources.memory_bytes"),
        (RequestedResources(gpus=2), "resources.gpus"),
    ],
)
def test_what_can_never_fit_is_rejected_with_both_numbers(
    asked: RequestedResources, field: str
) -> None:
    rejection = granted(asked)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.RESOURCES_UNAVAILABLE
    assert [violation.field for violation in rejection.violations] == [field]
    assert "available" in rejection.message


def test_everything_that_is_too_much_is_named() -> None:
    rejection = granted(RequestedResources(cpus=9, memory_bytes=9999, gpus=9))
    assert isinstance(rejection, Rejection)
    assert len(rejection.violations) == 3


def test_a_method_that_never_fits_here_is_rejected_too() -> None:
    small = dataclasses.replace(CAPACITY, gpus=0)
    assert isinstance(granted(RequestedResources(), hungry=True, capacity=small), Rejection)


@pytest.mark.parametrize(
    ("asked", "hungry", "expected"),
    [
        (None, False, 60.0),
        (None, True, 30.0),
        (5.0, True, 5.0),
        (0.25, False, 0.25),
        (600.0, False, 600.0),
        (1e9, False, 600.0),
    ],
)
def test_how_long_a_job_may_run(asked: float | None, hungry: bool, expected: float) -> None:  # noqa: FBT001 - a parameter of the test
    method = HUNGRY if hungry else SILENT
    assert admission.granted_seconds(asked, method, DEFAULTS, CAPACITY) == expected


@hypothesis.given(st.lists(resources, max_size=20), resources)
def test_what_is_granted_together_never_exceeds_the_capacity(
    wanted: list[Resources], used: Resources
) -> None:
    room = admission.Room(CAPACITY, used, 1)
    taken = [each for each in wanted if room.take(each)]
    for name in ("cpus", "memory_bytes", "gpus"):
        together = getattr(used, name) + sum(getattr(each, name) for each in taken)
        assert together <= getattr(CAPACITY, name)
    refused = [each for each in wanted if not any(each is granted for granted in taken)]
    assert not any(room.take(each) for each in refused)


def test_room_is_taken_to_the_last_bit() -> None:
    room = admission.Room(CAPACITY, NOTHING_USED, 0)
    assert room.most_jobs == 8
    assert room.take(Resources(cpus=8, memory_bytes=1000, gpus=1))
    assert room.most_jobs == 0
    assert not room.take(Resources(cpus=1, memory_bytes=0, gpus=0))


def test_a_refusal_takes_nothing() -> None:
    room = admission.Room(CAPACITY, NOTHING_USED, 0)
    assert not room.take(Resources(cpus=1, memory_bytes=1001, gpus=0))
    assert not room.take(Resources(cpus=1, memory_bytes=0, gpus=2))
    assert room.take(Resources(cpus=8, memory_bytes=1000, gpus=1))


def test_a_capacity_that_has_shrunk_below_its_use_leaves_no_room() -> None:
    room = admission.Room(CAPACITY, Resources(cpus=9, memory_bytes=0, gpus=0), 9)
    assert room.most_jobs == 0
    assert not room.take(Resources(cpus=1, memory_bytes=0, gpus=0))


def test_what_is_short_is_told_with_how_much_is_in_use() -> None:
    full = admission.Room(CAPACITY, Resources(cpus=8, memory_bytes=400, gpus=0), 3)
    assert full.shortage(Resources(cpus=1)) == "room: 8 of 8 cores are in use"
    part = admission.Room(CAPACITY, Resources(cpus=6, memory_bytes=1000, gpus=1), 3)
    assert part.shortage(Resources(cpus=2)) == ""
    assert part.shortage(Resources(cpus=3, memory_bytes=5, gpus=1)) == (
        "room: 6 of 8 cores are in use, and 3 are needed,"
        " 1000 of 1000 bytes of memory are in use, 1 of 1 GPUs are in use"
    )
