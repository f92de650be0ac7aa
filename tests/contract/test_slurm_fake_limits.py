"""What a fake Slurm allows: how long, how many, how much; what it tells of, and how long."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from support import fake_slurm
from support.fake_slurm import FakeSlurm
from support.fake_slurm_site import DEADLINE_SECONDS, Site, until


@contextlib.contextmanager
def site_of(folder: pathlib.Path, **settings: Any) -> Iterator[tuple[FakeSlurm, Site]]:  # noqa: ANN401 - by name
    with fake_slurm.running(folder / "slurm", kill_wait_seconds=0.1, **settings) as fake:
        yield fake, Site(fake, folder / "site")


def test_a_task_ends_with_its_time_limit(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path, minute_seconds=0.1) as (fake, site):
        limited = site.run("--time=1")
        unlimited = site.run()
        until(lambda: "1 TIMEOUT TimeLimit" in site.squeue())
        assert (limited, unlimited) == ("1", "2")
        assert "2 RUNNING None" in site.squeue()
        assert fake.tasks[0].state == "TIMEOUT"


def test_a_full_queue_makes_sbatch_wait_until_what_ended_is_forgotten(
    tmp_path: pathlib.Path,
) -> None:
    with site_of(tmp_path, max_job_count=3, min_job_age_seconds=0.0, retry_seconds=0.01) as (
        fake,
        site,
    ):
        job_id = site.run("--array=0-1")
        with site.start(*site.sbatch_words("true")) as sbatch:
            assert sbatch.stderr is not None
            assert "temporarily unable to accept job" in sbatch.stderr.readline()
            assert len(fake.submissions) == 1
            site.call("scancel", job_id)
            assert sbatch.communicate(timeout=DEADLINE_SECONDS)[0] == "3\n"
        assert len(fake.submissions) == 2


def test_what_ended_is_told_of_until_it_is_old(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path, min_job_age_seconds=0.0) as (fake, site):
        site.submit("true")
        until(lambda: fake.submissions and not site.squeue())
        code, _, error = site.call("squeue", "-h", "-j", "1")
        assert (code, error) == (1, "slurm_load_jobs error: Invalid job id specified\n")


def test_memory_is_shared_out_as_processors_are(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path, nodes=1, memory_megabytes=100) as (fake, site):
        site.run("--mem=60M")
        site.submit("true", "--mem=60M")
        until(lambda: "2 PENDING Resources" in site.squeue())
        code, _, error = site.call(*site.sbatch_words("true", "--mem=101M"))
        assert code == 1
        assert "Memory specification can not be satisfied" in error
        assert "3 FAILED BadConstraints" in site.squeue()
        assert len(fake.submissions) == 2


def test_gpus_are_had_where_there_are_any(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path, nodes=1, gpus=2) as (_, site):
        site.run("--gres=gpu:2")
        site.submit("true", "--gres=gpu:1")
        until(lambda: "2 PENDING Resources" in site.squeue())
        code, _, error = site.call(*site.sbatch_words("true", "--gres=gpu:3"))
        assert code == 1
        assert "Requested node configuration is not available" in error
        assert site.call("sinfo", "-h", "-o", "%G %c")[1] == "gpu:2 16\n"


def test_gpus_are_unknown_where_there_are_none(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path) as (_, site):
        code, _, error = site.call(*site.sbatch_words("true", "--gres=gpu:1"))
        assert (code, error) == (
            1,
            "sbatch: error: Invalid generic resource (gres) specification\n",
        )


def test_what_wants_more_time_than_the_partition_gives_waits_for_ever(
    tmp_path: pathlib.Path,
) -> None:
    with site_of(tmp_path, longest_minutes=60) as (_, site):
        site.submit("true", "--time=61")
        site.submit("true", "--time=60")
        until(lambda: "2 COMPLETED None" in site.squeue())
        assert "1 PENDING PartitionTimeLimit" in site.squeue()
        assert site.call("sinfo", "-h", "-o", "%l %P")[1] == "1:00:00 main*\n"


def test_accounting_tells_what_was_used_where_there_is_any(tmp_path: pathlib.Path) -> None:
    words = ["sacct", "--noheader", "--parsable2", "--format=JobID,JobName,State,MaxRSS"]
    with site_of(tmp_path / "with", has_accounting=True) as (fake, site):
        site.submit("true", "--array=3", name="told")
        until(lambda: [task.state for task in fake.tasks] == ["COMPLETED"])
        job, step = site.call(*words, "--name=told")[1].splitlines()
        assert job == "1_3|told|COMPLETED|"
        assert step.startswith("1_3.batch|batch|COMPLETED|")
        assert step.endswith("K")
    with site_of(tmp_path / "without") as (_, site):
        assert site.call(*words) == (1, "", "Slurm accounting storage is disabled\n")


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["sbatch", "--bogus"], 255, "sbatch: unrecognized option '--bogus'"),
        (["sbatch", "absent.sh"], 1, "sbatch: error: Unable to open file absent.sh"),
        (["sbatch", "--mem=much", "script.sh"], 255, "Invalid --mem specification"),
        (["sbatch", "--time=long", "script.sh"], 255, "Invalid --time specification"),
        (["sbatch", "--array=x", "script.sh"], 1, "Invalid job array specification"),
        (["sbatch", "--partition=no", "script.sh"], 1, "Invalid partition name specified"),
        (["squeue", "--bogus"], 1, "squeue: unrecognized option '--bogus'"),
        (["scancel", "foo"], 1, "scancel: error: Invalid job id foo"),
        (["scancel"], 1, "scancel: error: No job identification provided"),
        (["scancel", "-b", "-s", "USR1", "9_1"], 1, "job id 9_1: Invalid job id specified"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_slurm(
    tmp_path: pathlib.Path, words: list[str], code: int, complaint: str
) -> None:
    with site_of(tmp_path) as (_, site):
        site.sbatch_words("true")
        told = site.call(*words)
    assert told[0] == code
    assert complaint in told[2]


def test_waiting_tasks_are_one_line_unless_each_is_asked_for(tmp_path: pathlib.Path) -> None:
    with site_of(tmp_path) as (_, site):
        site.run("--array=0-9%2")
        site.call("scancel", "1_[3-5,7]")
        _, out, _ = site.call("squeue", "-h", "-t", "PENDING", "-o", "%i|%K|%A")
        assert out == "1_[2,6,8-9%2]|2,6,8-9%2|1\n"
        _, out, _ = site.call("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i|%K")
        assert out.split() == ["1_2|2", "1_6|6", "1_8|8", "1_9|9"]


def test_a_signal_beside_waiting_tasks_arrives_at_ten_and_scancel_does_not_believe_it(
    tmp_path: pathlib.Path,
) -> None:
    script = "trap 'touch got.$SLURM_ARRAY_TASK_ID' USR1; touch up.$SLURM_ARRAY_TASK_ID"
    with site_of(tmp_path, retry_seconds=20.0) as (_, site):
        site.submit(f"{script}; while :; do sleep 0.02; done", "--array=0-12%12")
        until(lambda: len(list(site.folder.glob("up.*"))) == 12)
        with site.start("scancel", "--batch", "--signal=USR1", "1_[0-11]") as scancel:
            until(lambda: len(list(site.folder.glob("got.*"))) == 10)
            assert scancel.poll() is None
            scancel.kill()
    assert len(list(site.folder.glob("got.*"))) == 10
