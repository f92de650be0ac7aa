"""The wrapper of Slurm's tasks: what it runs, as what, and what it records. Without any Slurm."""

import json
import os
import re
import shutil

import pytest

from support import slurm_task
from support.slurm_task import TASK, Task
from support.slurm_task_fixtures import shell, task

__all__ = ["shell", "task"]


@pytest.mark.parametrize("code", [0, 1, 2, 75, 78, 126, 127, 128, 193, 255])
def test_an_exit_code_is_told_as_it_is(task: Task, code: int) -> None:
    (job,) = (task.job(f"exit {code}"),)
    task.run()
    end = job.end()
    assert (end.exit_code, end.signal, end.cause) == (code, None, "NONE")


@pytest.mark.parametrize("number", [1, 6, 9, 11, 12, 15])
def test_a_signal_that_ended_it_is_told(task: Task, number: int) -> None:
    jobs = [task.job(f"kill -{number} $$"), task.job("exit 4")]
    task.run()
    assert [(j.end().exit_code, j.end().signal, j.end().cause) for j in jobs] == [
        (None, number, "NONE"),
        (4, None, "NONE"),
    ]


def test_start_and_end_name_attempt_and_slurm_job(task: Task) -> None:
    job = task.job("true")
    task.run()
    start, end = job.start(), job.end()
    assert start is not None
    assert (start.slurm_job_id, start.node) == (slurm_task.JOB_ID, slurm_task.NODE)
    assert (end.name, end.slurm_job_id, end.node) == (job.name, start.slurm_job_id, start.node)
    assert start.at == end.started_at <= end.ended_at
    assert end.cpu_milliseconds is not None
    assert task.ended() == {f"{TASK}.0"}


@pytest.mark.parametrize("others", [0, 1])
def test_the_process_is_that_of_the_contract(task: Task, others: int) -> None:
    text = """
        import json, os, resource, sys
        seen = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}
        seen |= {"stdin": sys.stdin.read(), "leads": os.getsid(0) == os.getpid()}
        seen |= {"core": resource.getrlimit(resource.RLIMIT_CORE), "files": os.listdir("/dev/fd")}
        print(json.dumps(seen))
    """
    for _ in range(others):
        task.job("true")
    job = task.python(text)
    task.run()
    seen = json.loads(job.stdout)
    assert seen["env"] == dict(job.job.env)
    assert seen["cwd"] == str(task.method_dir)
    assert (seen["stdin"], seen["leads"], seen["core"]) == ("", True, [0, 0])
    assert sorted(seen["files"]) == ["0", "1", "2", "3"]  # 3 is the listing's own


def test_a_method_is_told_which_devices_are_its_own(task: Task) -> None:
    task.given = {"CUDA_VISIBLE_DEVICES": "0,3", "ROCR_VISIBLE_DEVICES": "$(exit 1) *"}
    jobs = [task.job('echo "$CUDA_VISIBLE_DEVICES ${ROCR_VISIBLE_DEVICES-none}"') for _ in range(2)]
    task.run()
    assert [job.stdout for job in jobs] == ["0,3 none\n"] * 2


HOSTILE = [
    "",
    " a  b ",
    "'",
    '"',
    "\\",
    "\\n",
    "a\nb",
    "\n",
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME",
    "*",
    "~",
    "-n",
    "--",
    "a=b",
    "!",
    "; exit 9",
    "\u00fc\u20ac",
    "\udcff\udc80",
    "#x",
    "\t\r\x01\x7f",
]


@pytest.mark.parametrize("others", [0, 1])
def test_words_and_variables_arrive_as_they_are(task: Task, others: int) -> None:
    text = """
        import os, sys
        words = sys.argv[1:] + [os.environ[name] for name in sorted(os.environ) if "H_" in name]
        sys.stdout.buffer.write(b"|".join(os.fsencode(word) for word in words))
    """
    for _ in range(others):
        task.job("true")
    path = task.method_dir / "print.py"
    path.write_text("\n".join(line.strip() for line in text.splitlines()))
    env = {f"H_{number:02}": word for number, word in enumerate(HOSTILE)}
    job = task.job(argv=["python3", str(path), *HOSTILE], env=env)
    task.run()
    written = (job.folder / "stdout").read_bytes()
    assert written == b"|".join(os.fsencode(word) for word in HOSTILE * 2)
    assert not list(task.folder.rglob("pwned"))


@pytest.mark.parametrize("name", ["a=b", "-x", "a b", "job", "test", "if"])
def test_a_command_of_any_name_is_run(task: Task, name: str) -> None:
    folder = task.folder / "odd"
    folder.mkdir()
    (folder / name).write_text("#!/bin/sh\necho ran\n")
    (folder / name).chmod(0o755)
    jobs = [task.job(argv=[name], env={"PATH": f"{folder}:/usr/bin:/bin"}) for _ in range(2)]
    task.run()
    assert [job.stdout for job in jobs] == ["ran\n"] * 2


@pytest.mark.parametrize("command", ["no-such-command", "/no/such", "./here/no", "claim", "."])
def test_a_command_that_does_not_exist_was_not_started(task: Task, command: str) -> None:
    job, other = task.job(argv=[command, "x"]), task.job("exit 3")
    task.run()
    end = job.end()
    assert (end.cause, end.reason) == ("NOT_STARTED", f"command not found: {command}")
    assert (end.exit_code, end.signal) == (None, None)
    assert other.end().exit_code == 3


def test_a_command_with_a_slash_is_looked_up_from_the_methods_folder(task: Task) -> None:
    (task.method_dir / "bin").mkdir()
    shutil.copy("/bin/echo", task.method_dir / "bin" / "say")
    jobs = [
        task.job(argv=["bin/say", "one"]),
        task.job(argv=["./bin/say", "two"]),
        task.job(argv=["say", "three"], env={"PATH": "bin:/usr/bin"}),
    ]
    task.run()
    assert [job.stdout for job in jobs] == ["one\n", "two\n", "three\n"]


def test_a_method_whose_folder_is_gone_was_not_started(task: Task) -> None:
    job = task.job("true", cwd=task.folder / "gone")
    task.run()
    assert job.end().cause == "NOT_STARTED"


def test_output_that_is_large_or_no_text_is_kept(task: Task) -> None:
    text = "import os; os.write(2, bytes(range(256))); os.write(1, bytes(range(256)) * 200000)"
    job = task.python(text)
    task.run()
    assert (job.folder / "stderr").read_bytes() == bytes(range(256))
    assert (job.folder / "stdout").read_bytes() == bytes(range(256)) * 200000


def test_records_and_outputs_are_for_their_owner_alone(task: Task) -> None:
    job = task.job("true")
    task.run()
    modes = {path.name: path.stat().st_mode & 0o777 for path in job.folder.iterdir()}
    assert {modes[name] for name in ("start", "exit", "stdout", "stderr")} == {0o600}


def test_a_record_is_one_line_of_json_as_agreed(task: Task) -> None:
    job = task.job("exit 3")
    task.run()
    text = (job.folder / "exit").read_text()
    record = json.loads(text)
    used = record.pop("cpu_milliseconds")
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert re.fullmatch(r"\d+", str(used))
    assert record == {
        "name": job.name,
        "slurm_job_id": slurm_task.JOB_ID,
        "node": slurm_task.NODE,
        "exit_code": 3,
        "signal": None,
        "cause": "NONE",
        "reason": None,
        "peak_memory_bytes": None,
    }
