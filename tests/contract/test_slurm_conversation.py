"""Slurm's commands as the engine runs them: with a time limit, killed with all they started.

The commands are scripts that stand for Slurm's own; no Slurm is needed.
"""

import asyncio
import contextlib
import os
import pathlib

import pytest

from dshpc_server.engine.slurm import conversation
from support import engine_told, slurm_processes
from support.slurm_scripts import environment, put

__all__ = ["environment"]

# Leaves a child that would outlive it, and says who they are.
_HANGING = """\
sleep 1000 &
echo $$ $! > "$HOME/pids"
wait"""
_SAID = 'echo out; echo err >&2; printf "%s" "$1" >&2; exit 3'


def _pids(folder: pathlib.Path) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(word) for word in (folder / "pids").read_text().split()]
    return []


async def test_what_a_command_says_is_told_with_how_it_ended(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "speak", _SAID)

    answer = await conversation.hold(
        ["speak", "a word"], environment=environment, patience_seconds=10
    )

    assert answer.exit_code == 3
    assert answer.output == b"out\n"
    assert answer.complaints == b"err\na word"


async def test_a_command_whose_time_is_up_is_killed_with_its_children(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "hang", _HANGING)

    answer = await conversation.hold(["hang"], environment=environment, patience_seconds=0.5)

    assert answer.exit_code is None
    assert answer.seconds >= 0.5
    pids = _pids(tmp_path)
    assert pids
    assert slurm_processes.until(lambda: not any(map(slurm_processes.is_alive, pids)))


async def test_a_command_of_somebody_who_is_cancelled_is_killed_with_its_children(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "hang", _HANGING)
    held = conversation.hold(["hang"], environment=environment, patience_seconds=1000)
    task = asyncio.create_task(held)
    await engine_told.eventually(lambda: bool(_pids(tmp_path)))

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    pids = _pids(tmp_path)
    assert slurm_processes.until(lambda: not any(map(slurm_processes.is_alive, pids)))


@pytest.mark.parametrize("turns", range(12))
async def test_nothing_is_left_of_a_command_whose_start_is_broken_off(
    environment: dict[str, str], tmp_path: pathlib.Path, turns: int
) -> None:
    put(tmp_path, "hang", _HANGING)
    before = slurm_processes.children_of(os.getpid())
    held = conversation.hold(["hang"], environment=environment, patience_seconds=1000)
    task = asyncio.create_task(held)
    for _ in range(turns):
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert slurm_processes.children_of(os.getpid()) <= before
    pids = _pids(tmp_path)
    assert slurm_processes.until(lambda: not any(map(slurm_processes.is_alive, pids)))


async def test_a_command_that_says_something_hopeless_is_killed_at_once(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "hang", f"echo woe is me >&2\n{_HANGING}")

    answer = await conversation.hold(
        ["hang"],
        environment=environment,
        patience_seconds=1000,
        is_hopeless=lambda complaints: b"woe" in complaints,
    )

    assert answer.exit_code is None
    assert answer.complaints == b"woe is me\n"


async def test_a_command_that_complains_without_end_is_killed(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "nag", "exec yes >&2")

    answer = await conversation.hold(["nag"], environment=environment, patience_seconds=1000)

    assert answer.exit_code is None


async def test_what_is_said_while_a_child_that_got_away_holds_the_output_may_not_be_all(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "part", 'setsid sleep 1000 & echo $! > "$HOME/pids"; echo done')

    answer = await conversation.hold(["part"], environment=environment, patience_seconds=0.5)

    assert answer.exit_code is None
    slurm_processes.kill(_pids(tmp_path))


async def test_who_is_ended_by_a_signal_is_told_so(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    put(tmp_path, "fall", "kill -SEGV $$")

    answer = await conversation.hold(["fall"], environment=environment, patience_seconds=10)

    assert answer.exit_code == -11
