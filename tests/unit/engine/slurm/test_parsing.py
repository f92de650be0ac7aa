"""What squeue and sbatch of Slurm 22.05 printed, read."""

import pytest

from dshpc_server.engine.slurm import cluster, parsing
from dshpc_server.engine.slurm.cluster import State, Task

_QUEUE = """\
86|2|COMPLETING|n1|dshpc-b-01|None
86|1|CANCELLED|n1|dshpc-b-01|None
2|0|FAILED||dshpc-mem-02|BadConstraints
88|0|PENDING||dshpc-n-03|ReqNodeNotAvail, UnavailableNodes:n1
88|1|PENDING||dshpc-n-03|Priority
3|N/A|RUNNING|n1|t.sh|None
"""


def _task(**changes: object) -> Task:
    values = {
        "name": "dshpc-b-01",
        "index": 1,
        "job_id": "86_1",
        "state": State.CANCELLED,
        "node": "n1",
        "reason": "",
    }
    return Task(**(values | changes))  # type: ignore[arg-type] # what is changed is of its type


def test_each_task_of_ours_is_told_and_those_of_others_are_not() -> None:
    told = parsing.tasks(_QUEUE)

    assert [task.job_id for task in told] == ["86_2", "86_1", "2_0", "88_0", "88_1"]
    assert told[1] == _task()
    assert told[2].reason == "BadConstraints"
    assert told[3].reason == "ReqNodeNotAvail, UnavailableNodes:n1"
    assert told[4] == _task(
        name="dshpc-n-03",
        index=1,
        job_id="88_1",
        state=State.PENDING,
        node="",
        reason="Priority",
    )


def test_an_empty_queue_has_no_tasks() -> None:
    assert parsing.tasks("") == []


def test_the_rest_of_an_array_that_was_cancelled_as_a_whole_is_told_without_an_index() -> None:
    told = parsing.tasks("10|N/A|CANCELLED||dshpc-b-01|JobArrayTaskLimit\n")

    assert told == [
        _task(index=cluster.REST, job_id="10", node="", reason="JobArrayTaskLimit"),
    ]


@pytest.mark.parametrize(
    ("indexes", "told"),
    [
        ("3", [3]),
        ("3%3", [3]),
        ("0-3", [0, 1, 2, 3]),
        ("2-5%2", [2, 3, 4, 5]),
        ("3,5-7,11%3", [3, 5, 6, 7, 11]),
        ("1-9:2", [1, 3, 5, 7, 9]),
        ("1-10:2%4", [1, 3, 5, 7, 9]),
    ],
)
def test_tasks_that_wait_are_told_one_by_one(indexes: str, told: list[int]) -> None:
    tasks = parsing.tasks(f"12|{indexes}|PENDING||dshpc-b-01|Priority\n")

    assert [task.index for task in tasks] == told
    assert [task.job_id for task in tasks] == [f"12_{index}" for index in told]
    assert {task.reason for task in tasks} == {"Priority"}


def test_a_row_of_tasks_that_is_cut_short_is_no_answer() -> None:
    lines = "86|1|RUNNING|n1|dshpc-b-01|None\n86|3,5,7,...|PENDING||dshpc-b-01|Priority\n"

    with pytest.raises(parsing.NoFormError, match="cut short"):
        parsing.tasks(lines)


@pytest.mark.parametrize("indexes", ["5-", "-5", "1-2:0", "0-99999999999", "1,,2", "", "1:2:3"])
def test_what_is_no_row_of_tasks_is_passed_over(indexes: str) -> None:
    lines = f"86|1|CANCELLED|n1|dshpc-b-01|None\n12|{indexes}|PENDING||dshpc-b-01|None\n"

    assert parsing.tasks(lines) == [_task()]


def test_a_state_that_nobody_knows_is_unknown() -> None:
    told = parsing.tasks("86|1|LEVITATING|n1|dshpc-b-01|None\n")

    assert told == [_task(state=State.UNKNOWN)]


def test_bars_in_a_reason_are_part_of_it() -> None:
    told = parsing.tasks("86|1|CANCELLED|n1|dshpc-b-01|a|b c|d\n")

    assert told == [_task(reason="a|b c|d")]


def test_names_of_others_may_hold_anything() -> None:
    lines = "7|N/A|RUNNING|n1|a|b|c|dshpc-x|None\n8|N/A|RUNNING|n1|a\nb|c|None\n"

    assert parsing.tasks(lines + "86|1|CANCELLED|n1|dshpc-b-01|None\n") == [_task()]


@pytest.mark.parametrize("line", ["86|1|CANCELLED|n1", "86|1-z|PENDING||dshpc-b-01|None", "x"])
def test_a_line_that_is_not_in_form_is_passed_over(line: str) -> None:
    assert parsing.tasks(f"{line}\n86|1|CANCELLED|n1|dshpc-b-01|None\n") == [_task()]


@pytest.mark.parametrize("text", ["slurm is down for maintenance\n", "86|1-z|PENDING||dshpc-b|N\n"])
def test_output_without_any_line_in_form_is_no_answer(text: str) -> None:
    with pytest.raises(parsing.NoFormError, match="no line in form"):
        parsing.tasks(text)


@pytest.mark.parametrize(
    ("text", "job_id"),
    [
        ("12\n", "12"),
        ("12;mycluster\n", "12"),
        ("12", "12"),
        ("", None),
        ("0\n", None),
        ("Submitted batch job 12\n", None),
        ("12\n13\n", None),
    ],
)
def test_sbatch_tells_one_job_id(text: str, job_id: str | None) -> None:
    assert parsing.submitted(text) == job_id
