"""What a test can have a fake Slurm do wrong, and that nothing of it is left."""

import contextlib
import pathlib
import signal
from collections.abc import Iterator

import psutil
import pytest

from support import fake_slurm
from support.fake_slurm import FakeSlurm
from support.fake_slurm_site import DEADLINE_SECONDS, Site, until

_UNREACHABLE = "Unable to contact slurm controller (connect failure)"


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> Iterator[FakeSlurm]:
    with fake_slurm.running(
        tmp_path / "slurm", nodes=2, cpus=2, kill_wait_seconds=0.1, unanswered_seconds=0.01
    ) as made:
        yield made


@pytest.fixture
def site(fake: FakeSlurm, tmp_path: pathlib.Path) -> Site:
    return Site(fake, tmp_path / "site")


def state(fake: FakeSlurm, job_id: str) -> str:
    return next(task.state for task in fake.tasks if task.id == job_id)


def pid(fake: FakeSlurm, job_id: str) -> int:
    found = next(task.pid for task in fake.tasks if task.id == job_id)
    assert found is not None
    return found


def test_programs_say_that_a_controller_is_down_and_sbatch_tries_until_it_is_up(
    fake: FakeSlurm, site: Site
) -> None:
    fake.down()
    for words in (["squeue"], ["scancel", "1"], ["sinfo"], ["scontrol", "show", "config"]):
        code, _, error = site.call(*words)
        assert code == 1
        assert _UNREACHABLE in error
    assert site.call("scontrol", "ping")[:2] == (1, "Slurmctld(primary) at fake is DOWN\n")
    with site.start(*site.sbatch_words("true")) as sbatch:
        until(lambda: fake.calls[-1][0] == "sbatch")
        assert (sbatch.poll(), fake.submissions) == (None, [])
        fake.up()
        assert sbatch.communicate(timeout=DEADLINE_SECONDS)[0] == "1\n"


def test_an_sbatch_that_is_killed_while_the_controller_is_down_submits_nothing(
    fake: FakeSlurm, site: Site
) -> None:
    fake.down()
    with site.start(*site.sbatch_words("true")) as sbatch:
        until(lambda: fake.calls)
        sbatch.kill()
    fake.up()
    assert site.submit("true") == "1"
    assert [submission.id for submission in fake.submissions] == ["1"]


def test_what_runs_goes_on_while_the_controller_is_down(fake: FakeSlurm, site: Site) -> None:
    job_id = site.submit("until [ -e go ]; do sleep 0.02; done")
    until(lambda: state(fake, job_id) == "RUNNING")
    fake.down()
    (site.folder / "go").touch()
    until(lambda: state(fake, job_id) == "COMPLETED")
    fake.up()
    assert site.squeue() == ["1 COMPLETED None"]


def test_programs_wait_for_a_paused_controller(fake: FakeSlurm, site: Site) -> None:
    fake.pause()
    with site.start("scontrol", "ping") as ping, site.start("squeue", "-h") as squeue:
        until(lambda: len(fake.calls) == 2)
        assert ping.communicate(timeout=DEADLINE_SECONDS)[0].endswith("is DOWN\n")
        assert squeue.poll() is None
        fake.up()
        assert squeue.wait(DEADLINE_SECONDS) == 0


def test_squeue_lies_as_it_is_told_until_it_is_told_otherwise(fake: FakeSlurm, site: Site) -> None:
    fake.hold()
    site.submit("true", "--array=0-9")
    truth = site.call("squeue", "-h", "-r", "-o", "%i|%T")
    answers = {}
    for kind in ("empty", "cut", "garbage", "error", ""):
        fake.lie(kind)
        answers[kind] = site.call("squeue", "-h", "-r", "-o", "%i|%T")
    assert answers["empty"] == (0, "", "")
    assert answers["cut"] == (0, truth[1][: len(truth[1]) // 2], "")
    assert "1_0" not in answers["garbage"][1]
    assert answers["garbage"][1]
    assert answers["error"][:2] == (1, "")
    assert answers[""] == truth


def test_a_lost_submission_never_runs_and_is_unknown(fake: FakeSlurm, site: Site) -> None:
    fake.hold()
    site.submit("touch ran", name="lost")
    site.submit("touch other", name="kept")
    fake.lose("lost")
    fake.release()
    until((site.folder / "other").exists)
    assert site.squeue() == ["2 COMPLETED None"]
    assert not (site.folder / "ran").exists()


def test_after_a_crash_ids_are_given_again_and_what_ran_goes_on(
    fake: FakeSlurm, site: Site
) -> None:
    job_id = site.run()
    running = pid(fake, job_id)
    assert fake.crash() == [1]
    assert site.squeue() == []
    assert psutil.pid_exists(running)
    assert site.submit("true") == job_id


@pytest.mark.parametrize(
    "wanted",
    ["BOOT_FAIL", "CANCELLED", "DEADLINE", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"],
)
def test_a_task_that_is_ended_is_killed_and_has_that_state(
    fake: FakeSlurm, site: Site, wanted: str
) -> None:
    job_id = site.run()
    running = pid(fake, job_id)
    fake.end(job_id, wanted)
    until(lambda: state(fake, job_id) == wanted)
    assert not psutil.pid_exists(running)


def test_a_failed_node_is_forgotten_with_its_task_whose_process_goes_on(
    fake: FakeSlurm, site: Site
) -> None:
    job_id = site.run("--cpus-per-task=2")
    running = pid(fake, job_id)
    fake.end(job_id, "NODE_FAIL")
    assert site.squeue() == ["1 NODE_FAIL NodeDown"]
    assert psutil.Process(running).is_running()
    psutil.Process(running).kill()
    until(lambda: not psutil.pid_exists(running))
    assert state(fake, job_id) == "NODE_FAIL"


def test_a_task_that_waits_can_end_without_having_run(fake: FakeSlurm, site: Site) -> None:
    fake.hold()
    job_id = site.submit("touch ran")
    fake.end(job_id, "BOOT_FAIL")
    fake.release()
    site.submit("touch other")
    until((site.folder / "other").exists)
    assert state(fake, job_id) == "BOOT_FAIL"
    assert not (site.folder / "ran").exists()


def test_a_task_that_ignores_the_asking_is_killed(fake: FakeSlurm, site: Site) -> None:
    job_id = site.run()
    running = pid(fake, job_id)
    site.call("scancel", job_id)
    until(lambda: state(fake, job_id) == "CANCELLED")
    stubborn = site.submit("trap '' TERM; touch ready; while :; do sleep 0.02; done")
    until((site.folder / "ready").exists)
    site.call("scancel", stubborn)
    assert state(fake, stubborn) == "COMPLETING"
    until(lambda: state(fake, stubborn) == "CANCELLED")
    assert not psutil.pid_exists(running)


def test_a_suspended_task_stands_still_until_it_is_resumed(fake: FakeSlurm, site: Site) -> None:
    job_id = site.run()
    process = psutil.Process(pid(fake, job_id))
    fake.suspend(job_id)
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    assert site.squeue() == ["1 SUSPENDED None"]
    fake.resume(job_id)
    until(lambda: process.status() != psutil.STATUS_STOPPED)
    assert site.squeue() == ["1 RUNNING None"]


def test_what_waits_says_why_and_starts_when_it_may(fake: FakeSlurm, site: Site) -> None:
    fake.hold()
    site.submit("true", "--array=0-1")
    site.submit("true")
    until(lambda: "2 PENDING Priority" in site.squeue())
    assert site.squeue() == ["1_0 PENDING Resources", "1_1 PENDING Resources", "2 PENDING Priority"]
    fake.release()
    until(lambda: all(task.state == "COMPLETED" for task in fake.tasks))


def test_no_more_runs_than_the_nodes_have_room_for(fake: FakeSlurm, site: Site) -> None:
    site.run("--array=0-4")
    until(lambda: sum(task.state == "RUNNING" for task in fake.tasks) == 4)
    assert sorted(task.node for task in fake.tasks) == ["", "n1", "n1", "n2", "n2"]
    assert "1_4 PENDING Resources" in site.squeue()


def test_a_submission_can_be_taken_and_its_sbatch_say_that_it_failed(
    fake: FakeSlurm, site: Site
) -> None:
    fake.take_but_fail()
    code, out, error = site.call(*site.sbatch_words("true"))
    assert (code, out) == (1, "")
    assert "Socket timed out on send/recv operation" in error
    fake.take_but_fail(hangs=True)
    with site.start(*site.sbatch_words("true")) as sbatch:
        until(lambda: len(fake.submissions) == 2)
        sbatch.send_signal(signal.SIGKILL)
    until(lambda: [task.state for task in fake.tasks] == ["COMPLETED"] * 2)
    assert site.submit("true") == "3"


def test_a_refused_submission_leaves_nothing(fake: FakeSlurm, site: Site) -> None:
    fake.refuse(fake_slurm.REFUSED_FOR_NOW, times=2)
    for _ in range(2):
        code, _, error = site.call(*site.sbatch_words("true"))
        assert code == 1
        assert error == (
            f"sbatch: error: Batch job submission failed: {fake_slurm.REFUSED_FOR_NOW}\n"
        )
    assert site.squeue() == []
    assert site.submit("true") == "1"


def test_it_knows_what_it_was_asked(fake: FakeSlurm, site: Site) -> None:
    job_id = site.submit("true", "--array", "0-2%2", name="known")
    (submission,) = fake.submissions
    assert (submission.id, submission.name, submission.tasks) == (job_id, "known", 3)
    assert submission.options["array"] == "0-2%2"
    assert submission.environment["PATH"] == fake.environment["PATH"]
    site.squeue()
    site.squeue()
    assert fake.polls == 2
    assert [call[0] for call in fake.calls] == ["sbatch", "squeue", "squeue"]


def test_nothing_is_left_not_even_what_detached_itself(tmp_path: pathlib.Path) -> None:
    marks = [f"{tmp_path}/{name}" for name in ("child", "session", "orphan")]
    script = (
        f"sleep 1000 {marks[0]} & setsid sleep 1000 {marks[1]} &\n"
        f"sh -c 'setsid sleep 1000 {marks[2]} &'\ntouch ready; wait"
    ).replace("sleep 1000", 'python3 -c "import time; time.sleep(1000)"')
    with fake_slurm.running(tmp_path / "slurm") as fake:
        site = Site(fake, tmp_path / "site")
        site.submit(script)
        until(lambda: len(called(marks)) == 3)
    assert called(marks) == []


def called(marks: list[str]) -> list[list[str]]:
    """The command lines that end with one of these."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words[-1:] and words[-1] in marks and process.status() != psutil.STATUS_ZOMBIE:
                found.append(words)
    return found
