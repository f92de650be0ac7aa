"""What sacct of Slurm 22.05 printed, read."""

import datetime

from dshpc_server.engine.slurm import accounting
from dshpc_server.engine.slurm.cluster import Accounted, State, Task

_ROWS = """\
1_0|dshpc-a-01|FAILED|n1|00:00.002||1700000001
1_0.batch|batch|FAILED|n1|00:00.002|3232K|1700000001
1_0.extern|extern|COMPLETED|n1|00:00:00|12K|1700000001
1_1|dshpc-a-01|CANCELLED by 0|n1|1-00:00:01||1700000000
1_1.batch|batch|CANCELLED|n1|00:00.003||1700000000
1_[4-9]|dshpc-a-01|CANCELLED by 0|None assigned|00:00:00||1700000000
1_2|dshpc-a-01|RUNNING|None assigned|||Unknown
9|wrap|COMPLETED|n1|00:00:00||1700000001
9.batch|batch|COMPLETED|n1|00:00:00|1G|1700000001
"""


def _at(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def test_each_task_is_told_with_what_its_steps_used() -> None:
    told = accounting.rows(_ROWS)

    assert [each.job_id for each in told] == ["1_0", "1_1", "1_2"]
    used = Accounted(cpu_seconds=0.002, peak_memory_bytes=3232 * 1024, ended_at=_at(1_700_000_001))
    assert told[0] == Task(
        name="dshpc-a-01",
        index=0,
        job_id="1_0",
        state=State.FAILED,
        node="n1",
        reason="",
        accounted=used,
    )


def test_a_state_is_read_without_who_brought_it_about() -> None:
    assert accounting.rows(_ROWS)[1].state is State.CANCELLED


def test_what_is_not_known_is_none() -> None:
    waits = accounting.rows(_ROWS)[2]

    assert waits.node == ""
    nothing = Accounted(cpu_seconds=None, peak_memory_bytes=None, ended_at=None)
    assert waits.accounted == nothing


def test_what_is_not_in_form_is_passed_over() -> None:
    assert accounting.rows("nonsense\n1_0|dshpc-a-01|FAILED\n") == []


def test_a_state_that_nobody_knows_is_unknown() -> None:
    told = accounting.rows("1_0|dshpc-a-01|LEVITATING|n1|00:01||Unknown\n")

    assert told[0].state is State.UNKNOWN
