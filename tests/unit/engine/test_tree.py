"""A tree is killed main process first, and a number that was given back names nobody."""

import subprocess
from collections.abc import Iterator

import pytest

from dshpc_server.engine.local import processes, tree
from dshpc_server.engine.local.attempt import NO_SLOT, Attempt
from dshpc_server.engine.local.processes import Process


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        child.kill()


def _attempt(pid: int, wait_status: int | None) -> Attempt:
    attempt = Attempt(name="a", folder="/f", memory_bytes=0, slot=NO_SLOT)
    attempt.pid = pid
    attempt.wait_status = wait_status
    return attempt


def test_the_main_process_is_killed_before_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {pid: Process(pid, parent, 9, 0) for pid, parent in [(9, 1), (8, 9), (16, 8), (17, 9)]}
    killed: list[int] = []
    monkeypatch.setattr(processes, "table", lambda: table)
    monkeypatch.setattr(processes, "own_children", lambda: {9})
    monkeypatch.setattr(processes, "kill", lambda them: killed.extend(one.pid for one in them))
    attempt = _attempt(9, None)
    tree.ScannedTree(lambda: [attempt]).kill(attempt)
    assert (killed[0], sorted(killed)) == (9, [8, 9, 16, 17])


def test_a_process_that_has_the_number_of_a_reaped_one_is_not_killed(
    innocent: subprocess.Popen[bytes],
) -> None:
    attempt = _attempt(innocent.pid, 0)
    scanned = tree.ScannedTree(list)
    scanned.kill(attempt)
    assert innocent.pid not in scanned.members(attempt)
    assert processes.look_up(innocent.pid) is not None


def test_an_orphan_in_the_middle_of_an_exec_is_not_taken_for_nobodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = Process(9, 1, 9, 0)
    hidden, seen = processes.Mark(None, is_hidden=True), processes.Mark(None, is_hidden=False)
    marks = {9: hidden}
    killed: list[int] = []
    now = [0.0]
    monkeypatch.setattr(processes, "table", lambda: {9: child})
    monkeypatch.setattr(processes, "own_children", lambda: {9})
    monkeypatch.setattr(processes, "mark_of", marks.__getitem__)
    monkeypatch.setattr(processes, "kill", lambda them: killed.extend(one.pid for one in them))
    scanned = tree.ScannedTree(list, clock=lambda: now[0])
    ended = _attempt(5, 0)
    assert not scanned.is_gone(ended)
    assert killed == []
    now[0] = 2.0  # longer than any exec
    assert not scanned.is_gone(ended)
    assert killed == [9]
    marks[9], killed[:] = seen, []  # the exec is over, and it bears no mark
    assert not scanned.is_gone(ended)
    assert killed == [9]
