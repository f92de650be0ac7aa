"""A look at all processes: whole when nothing can have slipped through."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from dshpc_server.engine.local import census, processes
from support import engine_staying


@pytest.fixture
def marked() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], env={"JOB_WORKSPACE": "/w"}) as child:
        engine_staying.wait_until_shown(child.pid)
        yield child
        child.kill()


def _seen(monkeypatch: pytest.MonkeyPatch, *listed: int) -> census.Census:
    """A census of a machine with these processes alone."""
    monkeypatch.setattr(processes, "listed", lambda: list(listed))
    return census.Census()


def test_the_living_are_seen_with_their_marks(
    marked: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = _seen(monkeypatch, os.getpid(), marked.pid).look(())
    assert look.table.keys() == {os.getpid(), marked.pid}
    assert look.marks[marked.pid] == processes.Mark("/w", is_hidden=False)
    assert look.is_whole


def test_those_of_a_doomed_workspace_are_frozen_and_nobody_else_is(
    marked: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(processes, "freeze", lambda them: frozen.extend(one.pid for one in them))
    _seen(monkeypatch, os.getpid(), marked.pid).look({"/other", "/w"})
    assert frozen == [marked.pid]


def test_one_that_died_meanwhile_makes_a_look_partial_and_a_zombie_that_stays_does_not(
    marked: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = _seen(monkeypatch, marked.pid)
    assert looking.look(()).is_whole
    marked.kill()
    os.waitid(os.P_PID, marked.pid, os.WEXITED | os.WNOWAIT)
    assert not looking.look(()).is_whole
    assert looking.look(()).is_whole


def test_one_that_is_gone_by_the_time_it_is_looked_at_makes_a_look_partial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert not _seen(monkeypatch, gone.pid).look(()).is_whole


def test_an_environment_that_is_known_to_be_empty_hides_nothing() -> None:
    with subprocess.Popen(["sleep", "600"], env={}) as bare:
        engine_staying.wait_until_shown(bare.pid)
        mark = processes.mark_of(bare.pid)
        bare.kill()
    assert mark == processes.Mark(None, is_hidden=False)


def test_the_kernels_own_hide_nothing() -> None:
    assert processes.mark_of(2) == processes.Mark(None, is_hidden=False)


def test_one_that_is_gone_hides_what_it_was() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert processes.mark_of(gone.pid) == processes.Mark(None, is_hidden=True)
