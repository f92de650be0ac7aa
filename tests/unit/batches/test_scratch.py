"""Removing scratch space: whatever a method left there, nobody else is touched or kept waiting."""

import asyncio
import os
import pathlib

import pytest
import structlog

from dshpc_server.batches import scratch
from support import job_calls

# Deeper than Python recurses.
LEVELS = 3000


def workspace_in(folder: pathlib.Path) -> pathlib.Path:
    """A workspace as the engine makes it, with nothing of a method in it."""
    workspace = folder / "workspace"
    (workspace / "tmp").mkdir(parents=True)
    return workspace


def fill(workspace: pathlib.Path) -> None:
    """Leave a deep tree, as a method may."""
    (workspace / "tmp" / "file").write_text("scratch")
    place = os.open(workspace, os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)


async def test_an_untouched_workspace_is_removed_and_one_that_is_gone_is_no_error(
    tmp_path: pathlib.Path,
) -> None:
    workspace = workspace_in(tmp_path)
    await scratch.remove(workspace)
    assert not workspace.exists()
    await scratch.remove(workspace)
    workspace.mkdir()  # without its tmp/
    await scratch.remove(workspace)
    assert not workspace.exists()
    workspace.write_text("a file in its place")
    await scratch.remove(workspace)
    assert not workspace.exists()


async def test_a_tree_of_any_depth_is_removed(tmp_path: pathlib.Path) -> None:
    workspace = workspace_in(tmp_path)
    fill(workspace)
    await scratch.remove(workspace)
    assert not workspace.exists()


async def test_a_link_in_its_place_is_removed_and_not_followed(tmp_path: pathlib.Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "tmp").mkdir(parents=True)
    workspace = tmp_path / "workspace"
    workspace.symlink_to(elsewhere)
    await scratch.remove(workspace)
    assert not workspace.is_symlink()
    assert (elsewhere / "tmp").is_dir()


async def test_what_cannot_be_removed_is_told_and_the_rest_goes_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    stuck, other = workspace_in(first), workspace_in(second)
    (stuck / "tmp" / "file").write_text("scratch")
    monkeypatch.setattr(scratch, "_REMOVE", ("false",))
    clearing = scratch.Scratch()
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(clearing.run())
        clearing.clear([first, second])
        async with asyncio.timeout(20):
            while other.exists():  # noqa: ASYNC110 - a folder does not tell
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
    assert stuck.exists()
    assert [line["event"] for line in logged] == ["scratch.left"]


async def test_a_stop_does_not_wait_for_what_is_being_removed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, said = workspace_in(tmp_path), tmp_path / "pid"
    (workspace / "tmp" / "file").write_text("scratch")
    endless = ("bash", "-c", f"echo $$ > {said}; exec sleep 600", "--")
    monkeypatch.setattr(scratch, "_REMOVE", endless)
    clearing = scratch.Scratch()
    running = asyncio.create_task(clearing.run())
    clearing.clear([tmp_path])
    async with asyncio.timeout(20):
        while not said.exists() or not said.read_text():  # noqa: ASYNC110 - a file does not tell
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        await asyncio.get_running_loop().shutdown_default_executor()
    assert running.cancelled()
    assert job_calls.alive([int(said.read_text())]) == []
    assert workspace.exists()
