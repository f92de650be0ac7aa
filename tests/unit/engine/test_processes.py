"""Who descends from whom, and that a pid alone is never enough to be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dshpc_server.engine.local import processes
from dshpc_server.engine.local.processes import Process
from support import engine_staying


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], env={"JOB_WORKSPACE": "/w"}) as child:
        engine_staying.wait_until_shown(child.pid)
        yield child
        child.kill()


def test_descendants_are_found_at_any_depth_and_strangers_are_not() -> None:
    table = {
        pid: Process(pid, parent, 0, 0)
        for pid, parent in [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 7)]
    }
    assert processes.with_descendants(table, [2]) == {2, 3, 4}
    assert processes.with_descendants(table, [6, 3]) == {6, 3, 4}
    assert processes.with_descendants(table, [7]) == {7}
    assert processes.with_descendants(table, [99]) == set()


def test_a_living_process_is_seen_with_its_parent_and_workspace(
    sleeper: subprocess.Popen[bytes],
) -> None:
    seen = processes.look_up(sleeper.pid)
    assert seen is not None
    assert (seen.parent, seen.session) == (os.getpid(), os.getsid(0))
    assert processes.workspace_of(sleeper.pid) == "/w"
    assert sleeper.pid in processes.own_children()
    assert processes.table()[sleeper.pid] == seen


def test_a_process_starts_between_the_ticks_before_and_after_it_was_spawned() -> None:
    before = processes.ticks()
    with subprocess.Popen(["sleep", "600"]) as child:
        after = processes.ticks()
        started = processes.start_time(child.pid)
        child.kill()
    assert started is not None
    assert before <= started <= after


def test_a_zombie_is_not_living(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert processes.look_up(sleeper.pid) is None
    assert processes.start_time(sleeper.pid) is not None


def test_a_process_that_has_the_pid_of_another_is_not_killed(
    sleeper: subprocess.Popen[bytes],
) -> None:
    seen = processes.look_up(sleeper.pid)
    assert seen is not None
    processes.kill([seen._replace(start_time=seen.start_time - 1)])
    assert processes.look_up(sleeper.pid) == seen
    processes.kill([seen])
    assert sleeper.wait() == -signal.SIGKILL
    processes.kill([seen])


def test_a_process_that_is_frozen_can_still_be_killed(
    sleeper: subprocess.Popen[bytes],
) -> None:
    seen = processes.look_up(sleeper.pid)
    assert seen is not None
    processes.freeze([seen._replace(start_time=seen.start_time - 1), seen])
    _, status = os.waitpid(sleeper.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    processes.kill([seen])
    assert sleeper.wait() == -signal.SIGKILL


def test_shared_memory_is_divided_in_the_exact_figure() -> None:
    me = [os.getpid()]
    assert 0 < processes.proportional_bytes(me) <= processes.resident_bytes(me)


def test_the_runner_loads_the_standard_library_alone() -> None:
    program = (
        "import sys, dshpc_server.engine.local.runner as _; "
        "print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    )
    source = [path for path in sys.path if path.endswith("server")]
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(source)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in loaded if not name.startswith(("_", "sitecustomize"))} <= {
        "dshpc_server"
    }
