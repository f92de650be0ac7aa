"""What is told of attempts that did not run, or of which accounting alone knows how they ended."""

import datetime
import json
import pathlib
import re
import shlex

import pytest

from dshpc_server.domain.job import AttemptKey, Usage
from dshpc_server.engine import port
from dshpc_server.engine.slurm import array_folder, cluster, engine, facts, records, watching
from support import engine_launches

KEY = AttemptKey(job_id="a" * 64, number=1)
AT = datetime.datetime.fromtimestamp(0, datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
OF_THE_NODE = {
    "the folder of the method is not there",
    "the node does not show what a job starts: see docs/slurm.md",
}


def not_started(reason: str | None) -> port.NotStarted:
    """What is told when a wrapper gives this reason."""
    watched = watching.Watched(key=KEY, name="a.1", folder=pathlib.Path("/a/1"), launch=None)
    end = records.ExitRecord(
        name="a.1",
        slurm_job_id="12_7",
        node="n1",
        exit_code=None,
        signal=None,
        cause="NOT_STARTED",
        reason=reason,
        cpu_milliseconds=None,
        peak_memory_bytes=None,
        started_at=AT,
        ended_at=AT,
    )
    told = facts.ended(watched, end, None)
    assert isinstance(told, port.NotStarted)
    return told


def test_a_command_that_is_not_found_would_not_be_found_again(tmp_path: pathlib.Path) -> None:
    launch = engine_launches.Launches(tmp_path / "site").script("", command=["no-such", "x"])
    folder = array_folder.ArrayFolder(tmp_path / "arrays", "dshpc-d-a")
    folder.fill([[launch]], {}, at=AT)
    words = shlex.split((folder.path / "tasks" / "0").read_text())
    reason = json.loads(words[5])
    told = not_started(reason)
    assert (told.reason, told.is_permanent) == ("command not found: no-such", True)


@pytest.mark.parametrize("reason", sorted(OF_THE_NODE))
def test_what_one_node_lacks_another_may_have(reason: str) -> None:
    told = not_started(reason)
    assert (told.reason, told.is_permanent) == (reason, False)


def test_the_reasons_of_nodes_are_those_that_the_wrapper_gives() -> None:
    given = re.findall(r"""reason='"(.*)"'""", engine.SCRIPT.read_text())
    assert set(given) == OF_THE_NODE


def test_a_wrapper_that_gives_no_reason_is_not_believed_to_be_right_for_ever() -> None:
    assert not not_started(None).is_permanent


def test_what_accounting_alone_knows_is_told_with_what_the_job_used() -> None:
    used = cluster.Accounted(cpu_seconds=2.5, peak_memory_bytes=4096, ended_at=AT + MINUTE)
    task = cluster.Task(
        name="dshpc-d-a",
        index=0,
        job_id="12_0",
        state=cluster.State.TIMEOUT,
        node="n1",
        reason="",
        accounted=used,
    )
    watched = watching.Watched(key=KEY, name="a.1", folder=pathlib.Path("/a/1"), launch=None)
    end = facts.meaning(watched, task)
    told = facts.ended_by_slurm(watched, task, end, at=AT + 2 * MINUTE, started_at=AT)
    assert isinstance(told, port.Exited)
    assert (told.started_at, told.at) == (AT, AT + MINUTE)
    assert told.usage == Usage(cpu_seconds=2.5, peak_memory_bytes=4096)
