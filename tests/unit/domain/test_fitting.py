"""What fits into a place, and what is said of what fits into none."""

import pytest

from dshpc_server.domain import fitting
from dshpc_server.domain.job import Resources
from dshpc_server.domain.rejection import Reason

WIDE = Resources(cpus=64, memory_bytes=100)
LARGE = Resources(cpus=4, memory_bytes=1000, gpus=2)
_ASKED = "cpus 64, memory_bytes 0, gpus 1"
_THERE = "1 with cpus 64, memory_bytes 100, gpus 0; 1 with cpus 4, memory_bytes 1000, gpus 2"


@pytest.mark.parametrize(
    "wanted",
    [
        Resources(cpus=1),
        WIDE,
        LARGE,
        Resources(cpus=4, memory_bytes=100, gpus=2),
    ],
)
def test_what_one_place_has_all_of_fits(wanted: Resources) -> None:
    assert fitting.refusal(wanted, [WIDE, LARGE], are_nodes=True) is None


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Resources(cpus=65), "resources.cpus: 65 asked, 64 available on the largest node"),
        (
            Resources(memory_bytes=1001),
            "resources.memory_bytes: 1001 asked, 1000 available on the largest node",
        ),
        (Resources(gpus=3), "resources.gpus: 3 asked, 2 available on the largest node"),
        (
            Resources(cpus=64, gpus=1),
            f"resources: {_ASKED} asked, no node has all of it; there are {_THERE}",
        ),
    ],
)
def test_what_fits_nowhere_is_told_with_what_there_is(wanted: Resources, told: str) -> None:
    refused = fitting.refusal(wanted, [WIDE, LARGE], are_nodes=True)
    assert refused is not None
    assert refused.reason is Reason.RESOURCES_UNAVAILABLE
    assert refused.message == f"The job can never run here ({told})"


def test_nothing_is_said_of_nodes_where_there_are_none() -> None:
    refused = fitting.refusal(Resources(cpus=5, gpus=1), [Resources(cpus=4)], are_nodes=False)
    assert refused is not None
    assert [(each.field, each.description) for each in refused.violations] == [
        ("resources.cpus", "5 asked, 4 available"),
        ("resources.gpus", "1 asked, 0 available"),
    ]


def test_where_there_is_no_place_nothing_fits() -> None:
    refused = fitting.refusal(Resources(), [], are_nodes=True)
    assert refused is not None
    assert "1 asked, 0 available" in refused.message
