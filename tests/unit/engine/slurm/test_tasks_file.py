"""What a task runs, in words that every shell reads back as they were given."""

import os
import pathlib
import shutil
import subprocess

import hypothesis
import pytest
from hypothesis import strategies

from dshpc_server.engine.slurm import tasks_file

READ_BACK = 'job() { for word do printf "%s\\0" "$word"; done; printf "\\0"; }; . "$1"'
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


def job(**changes: object) -> tasks_file.TaskJob:
    given: dict[str, object] = {
        "folder": "/data/attempts/1",
        "name": "a.1",
        "limit_seconds": 60.0,
        "memory_bytes": 0,
        "not_found": '"command not found: sh"',
        "cwd": "/methods/m",
        "env": {"PATH": "/bin"},
        "argv": ["sh", "main"],
    }
    return tasks_file.TaskJob(**(given | changes))  # type: ignore[arg-type]  # of any form on purpose


def test_a_job_is_one_call_on_one_line() -> None:
    assert tasks_file.text([job(), job(name="b.1")]) == (
        "job /data/attempts/1 a.1 6000 0 '\"command not found: sh\"' /methods/m"
        " PATH=/bin -- sh main\n"
        "job /data/attempts/1 b.1 6000 0 '\"command not found: sh\"' /methods/m"
        " PATH=/bin -- sh main\n"
    )


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.3, "30"), (0.001, "1"), (0.0, "0"), (1e30, str(2**53)), (2, "200")]
)
def test_a_limit_is_told_in_centiseconds_and_never_too_short(seconds: float, told: str) -> None:
    assert tasks_file.text([job(limit_seconds=seconds)]).split(" ")[3] == told


@pytest.mark.parametrize("field", ["folder", "cwd"])
def test_no_word_may_hold_a_nul(field: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        tasks_file.text([job(**{field: "a\0b"})])
    with pytest.raises(ValueError, match="NUL"):
        tasks_file.text([job(argv=["sh", "a\0b"])])
    with pytest.raises(ValueError, match="NUL"):
        tasks_file.text([job(env={"A": "a\0b"})])


def test_what_has_no_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        tasks_file.text([job(argv=["sh", "\ud800"])])


@pytest.mark.parametrize("count", [0, tasks_file.MOST_JOBS + 1])
def test_a_task_has_as_many_jobs_as_can_be_numbered(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} jobs"):
        tasks_file.text([job()] * count)


WORDS = strategies.text(
    strategies.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | strategies.sampled_from("'\"\\\n$`*?~!#;&|<>() \t-=\x01\x7f\udcff\udc80"),
    max_size=12,
)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_reads_back_what_was_given(shell: str, tmp_path: pathlib.Path) -> None:
    @hypothesis.settings(database=None)
    @hypothesis.given(strategies.lists(WORDS, min_size=1, max_size=30), WORDS, WORDS)
    def check(argv: list[str], folder: str, value: str) -> None:
        given = job(argv=argv, folder=folder, env={"A": value}, not_found=value, cwd=folder)
        path = tmp_path / "task"
        path.write_bytes(os.fsencode(tasks_file.text([given, given])))
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        command = [shell, "-c", READ_BACK, shell, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        words = [folder, "a.1", "6000", "0", value, folder, f"A={value}", "--", *argv]
        call = b"".join(os.fsencode(word) + b"\0" for word in words) + b"\0"
        assert done.stdout == call * 2
        assert done.stderr == b""

    check()
