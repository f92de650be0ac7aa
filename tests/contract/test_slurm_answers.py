"""What the engine makes of what Slurm's commands say, and what it tells them.

The commands are scripts that stand for Slurm's own; no Slurm is needed.
"""

import dataclasses
import pathlib
import time

import pytest

from dshpc_server.engine.slurm import cluster, command_line
from support import slurm_arrays
from support.slurm_scripts import environment, put

__all__ = ["environment"]


async def test_only_what_slurm_needs_of_the_environment_reaches_a_command(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "squeue", 'env > "$HOME/env"')
    given = environment | {
        "SLURM_CONF": "/etc/slurm.conf",
        "LD_LIBRARY_PATH": "/opt/slurm/lib",
        "TZ": "UTC",
        "SQUEUE_FORMAT": "%i",
        "DSHPC_TOKEN": "secret",
        "LANG": "de_DE",
    }

    await command_line.CommandLine(environment=given).tasks(ended=False)

    seen = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    wanted = {"PATH", "LD_LIBRARY_PATH", "HOME", "TZ", "LANG"}
    wanted |= {"SLURM_CONF", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN"}
    assert seen - {"PWD", "SHLVL", "_", "OLDPWD"} == wanted
    assert "LANG=C.UTF-8" in (tmp_path / "env").read_text()


@pytest.mark.parametrize("options", [["--signal=USR1@60"], ["--signal", "B:TERM@30"], ["--sig=9"]])
async def test_a_site_that_has_a_signal_sent_is_not_asked_for_another(
    environment: dict[str, str], tmp_path: pathlib.Path, options: list[str]
) -> None:
    put(tmp_path, "sbatch", 'printf "%s\\n" "$@" > "$HOME/call"; echo 12')
    array = dataclasses.replace(slurm_arrays.array(tmp_path, "exit 0"), is_watched_late=True)

    await command_line.CommandLine(environment=environment, options=options).submit(array)

    call = (tmp_path / "call").read_text().splitlines()
    assert call[-2:] == [str(array.script), str(array.folder)]
    assert [word for word in call if "--sig" in word] == options[:1]


async def test_a_site_that_has_none_sent_is_asked_for_the_one_that_a_late_watcher_waits_for(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "sbatch", 'printf "%s\\n" "$@" > "$HOME/call"; echo 12')
    array = dataclasses.replace(slurm_arrays.array(tmp_path, "exit 0"), is_watched_late=True)
    commands = command_line.CommandLine(environment=environment, options=["--exclusive"])

    await commands.submit(array)

    call = (tmp_path / "call").read_text().splitlines()
    assert call[-1] == "late"
    assert len([word for word in call if word.startswith("--signal=")]) == 1


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "echo 12 >&2; kill -9 $$"])
async def test_an_answer_that_is_none_is_an_error_and_no_empty_queue(
    environment: dict[str, str], tmp_path: pathlib.Path, script: str
) -> None:
    put(tmp_path, "squeue", script)

    with pytest.raises(cluster.UnreachableError):
        await command_line.CommandLine(environment=environment).tasks(ended=False)


async def test_an_error_is_told_by_its_first_line_in_print(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "squeue", r"printf 'slurm_load_jobs \033[2Jerror\nmore\n' >&2; exit 1")

    with pytest.raises(cluster.UnreachableError, match=r"^squeue: slurm_load_jobs \?\[2Jerror$"):
        await command_line.CommandLine(environment=environment).tasks(ended=False)


async def test_commands_that_are_not_there_are_told_by_name(tmp_path: pathlib.Path) -> None:
    commands = command_line.CommandLine(environment={"PATH": str(tmp_path)})

    with pytest.raises(cluster.UnreachableError, match="squeue cannot be run"):
        await commands.tasks(ended=False)
    with pytest.raises(cluster.RefusedError, match="sbatch cannot be run") as refused:
        await commands.submit(slurm_arrays.array(tmp_path, "exit 0"))
    assert not refused.value.is_permanent


@pytest.mark.parametrize(
    "script", ["exit 0", "echo Submitted", "echo 12; exit 1", "kill -9 $$", "echo 0"]
)
async def test_a_submission_without_a_job_id_has_an_unknown_outcome(
    environment: dict[str, str], tmp_path: pathlib.Path, script: str
) -> None:
    put(tmp_path, "sbatch", script)

    with pytest.raises(cluster.UnknownOutcomeError):
        await command_line.CommandLine(environment=environment).submit(
            slurm_arrays.array(tmp_path, "exit 0")
        )


async def test_a_submission_that_would_be_tried_again_is_given_up_before_that(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    complaint = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying"
    put(tmp_path, "sbatch", f'echo "{complaint}" >&2; sleep 1000')
    begun = time.monotonic()

    # On a machine that is so slow that a second has passed, nobody knows.
    with pytest.raises((cluster.RefusedError, cluster.UnknownOutcomeError)) as refused:
        await command_line.CommandLine(environment=environment).submit(
            slurm_arrays.array(tmp_path, "exit 0")
        )

    if time.monotonic() - begun < 1.0:
        assert isinstance(refused.value, cluster.RefusedError)
        assert not refused.value.is_permanent


async def test_many_tasks_are_cancelled_in_commands_of_a_bounded_length(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "scancel", 'echo "$@" >> "$HOME/calls"')
    job_ids = [f"{array}_{index}" for array in range(10) for index in range(0, 10_000, 2)]

    await command_line.CommandLine(environment=environment).cancel(job_ids)

    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) > 1
    assert max(map(len, calls)) < 100_000
    assert sum(call.count(",") + call.count("[") for call in calls) == len(job_ids)


@pytest.mark.parametrize(
    "complaint",
    [
        "scancel: error: Kill job error on job id 1_1: Invalid job id specified",
        "scancel: error: Kill job error on job id 1_1: Job/step already completing or completed",
        "scancel: error: Kill job error on job id 1_1: Access/permission denied",
    ],
)
async def test_to_cancel_what_is_gone_is_no_error(
    environment: dict[str, str], tmp_path: pathlib.Path, complaint: str
) -> None:
    put(tmp_path, "scancel", f'echo "{complaint}" >&2; exit 1')

    await command_line.CommandLine(environment=environment).cancel(["1_1"])


async def test_to_cancel_what_may_be_there_and_was_not_reached_is_an_error(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    gone = "scancel: error: Kill job error on job id 1_1: Invalid job id specified"
    broken = "scancel: error: Kill job error on job id 1_2: Socket timed out on send/recv operation"
    put(tmp_path, "scancel", f'echo "{gone}" >&2; echo "{broken}" >&2; exit 1')

    with pytest.raises(cluster.UnreachableError, match="Socket timed out"):
        await command_line.CommandLine(environment=environment).cancel(["1_1", "1_2"])
