"""What the fake Slurm remembers of tasks that waited and were cancelled: what the real one does."""

import pathlib
from collections.abc import Iterator

import pytest

from support import fake_slurm
from support.fake_slurm import FakeSlurm
from support.fake_slurm_site import Site, until


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> Iterator[FakeSlurm]:
    with fake_slurm.running(tmp_path / "slurm", nodes=1, kill_wait_seconds=0.1) as made:
        yield made


@pytest.fixture
def site(fake: FakeSlurm, tmp_path: pathlib.Path) -> Site:
    return Site(fake, tmp_path / "site")


def waiting(site: Site, *, tasks: int = 3) -> str:
    """Submit an array none of whose tasks runs; return its id."""
    return site.submit("touch ran", "--hold", f"--array=0-{tasks - 1}", name="waiting")


def test_a_task_that_is_cancelled_for_itself_is_forgotten(site: Site) -> None:
    job_id = waiting(site)
    site.call("scancel", f"{job_id}_1")
    assert site.squeue() == [f"{job_id}_{index} PENDING JobHeldUser" for index in (0, 2)]


@pytest.mark.parametrize(
    "words",
    [
        ["1_0", "1_1", "1_2"],
        ["1_[0-2]"],
        ["--name=waiting"],
        ["--state=PENDING", "1"],
    ],
)
def test_the_last_that_goes_leaves_one_record_without_an_index(
    site: Site, words: list[str]
) -> None:
    waiting(site)
    site.call("scancel", *words)
    assert site.squeue() == ["1 CANCELLED JobHeldUser"]
    assert site.call("squeue", "-h", "-j", "1", "-t", "all", "-o", "%i|%K|%T")[:2] == (
        0,
        "1|N/A|CANCELLED\n",
    )


def test_an_array_that_is_cancelled_by_its_id_is_told_task_by_task(site: Site) -> None:
    job_id = waiting(site)
    site.call("scancel", job_id)
    assert site.squeue() == [f"{job_id}_{index} CANCELLED JobHeldUser" for index in range(3)]


def test_what_a_test_ends_as_cancelled_is_what_scancel_leaves(fake: FakeSlurm, site: Site) -> None:
    job_id = waiting(site)
    fake.end(f"{job_id}_0", "CANCELLED")
    assert site.squeue() == [f"{job_id}_{index} PENDING JobHeldUser" for index in (1, 2)]
    fake.end(job_id, "CANCELLED")
    assert site.squeue() == [f"{job_id}_{index} CANCELLED JobHeldUser" for index in (1, 2)]


def test_an_array_that_runs_leaves_both_kinds_of_records(site: Site) -> None:
    job_id = site.run("--array=0-2%1")
    site.call("scancel", f"{job_id}_[1-2]")
    site.call("scancel", job_id)
    left = [f"{job_id} CANCELLED JobArrayTaskLimit", f"{job_id}_0 CANCELLED None"]
    until(lambda: site.squeue() == left)
