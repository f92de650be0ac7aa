"""What Slurm 22.05 printed, read."""

import datetime

import pytest

from dshpc_server.domain.job import Resources
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

_CONFIG = """\
Configuration data as of 1700000100
AccountingStorageType   = accounting_storage/none
BOOT_TIME               = 1700000000
ClusterName             = jobtest
KillWait                = 2 sec
MaxArraySize            = 100001
MaxJobCount             = 200000
MinJobAge               = 300 sec
SchedulerParameters     = sched_min_interval=0,bf_continue

Cgroup Support Configuration:
CgroupMountpoint        = /sys/fs/cgroup

Slurmctld(primary) at vm is UP
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


def test_the_limits_are_read_from_the_configuration() -> None:
    assert parsing.limits(_CONFIG) == cluster.Limits(
        cluster_name="jobtest",
        max_array_tasks=100_001,
        max_jobs=200_000,
        kill_wait_seconds=2.0,
        min_job_age_seconds=300.0,
        has_accounting=False,
        booted_at=datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC),
    )


def test_a_site_may_allow_fewer_tasks_than_its_largest_index() -> None:
    text = _CONFIG.replace("bf_continue", "max_array_tasks=500,bf_continue")

    assert parsing.limits(text).max_array_tasks == 500


def test_accounting_is_there_with_a_database_daemon() -> None:
    text = _CONFIG.replace("accounting_storage/none", "accounting_storage/slurmdbd")

    assert parsing.limits(text).has_accounting


@pytest.mark.parametrize("text", ["", "ClusterName = jobtest\n", _CONFIG.replace("300 sec", "?")])
def test_a_configuration_that_lacks_something_is_no_answer(text: str) -> None:
    with pytest.raises(parsing.NoFormError):
        parsing.limits(text)


def test_a_partition_is_all_its_nodes_whatever_their_state() -> None:
    text = (
        "n1|16|4096|(null)|infinite|main*\n"
        "n2|16|4096|(null)|infinite|main*\n"
        "g1|32|8192|gpu:a100:2(S:0-1),gpu:v100:1|infinite|main*\n"
        "n1|16|4096|(null)|2:00|short\n"
    )

    assert parsing.partition(text, "") == cluster.Partition(
        nodes=[
            Resources(cpus=16, memory_bytes=4 * 2**30),
            Resources(cpus=32, memory_bytes=8 * 2**30, gpus=3),
        ],
        cpus=64,
        memory_bytes=16 * 2**30,
        gpus=3,
        longest_seconds=None,
    )


def test_a_partition_that_was_asked_for_need_not_be_the_default_one() -> None:
    found = parsing.partition("n1|16|4096|(null)|1-00:00:00|long\n", "long")

    assert found.cpus == 16
    assert found.longest_seconds == 86_400.0


def test_nodes_of_several_partitions_count_once_and_the_longest_limit_counts() -> None:
    text = "n1|16|4096|(null)|2:00|short\nn1|16|4096|(null)|1:00:00|long\n"

    found = parsing.partition(text, "short,long")

    assert found.cpus == 16
    assert found.longest_seconds == 3600.0


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("", "fast", "no partition 'fast'"),
        ("n1|16|4096|(null)|infinite|main\n", "", "no default partition"),
        ("n1|many|4096|(null)|infinite|main\n", "main", "no partition 'main'"),
    ],
)
def test_a_partition_without_nodes_is_no_answer(text: str, name: str, why: str) -> None:
    with pytest.raises(parsing.NoFormError, match=why):
        parsing.partition(text, name)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("(null)", 0),
        ("", 0),
        ("gpu:2", 2),
        ("gpu", 1),
        ("gpu:tesla", 1),
        ("gpu:a100:2(S:0)", 2),
        ("gpu:a100:2(S:0,2),gpu:v100:4(S:1)", 6),
        ("gpu:1K", 1024),
        ("shard:8,craynetwork:4", 0),
        ("nic:2,gpu:8(IDX:0-7)", 8),
    ],
)
def test_gpus_are_counted_with_types_and_sockets(text: str, count: int) -> None:
    assert parsing.gpus(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("infinite", None),
        ("UNLIMITED", None),
        ("30:00", 1800.0),
        ("2:00:00", 7200.0),
        ("1-00:00:00", 86_400.0),
        ("0:30", 30.0),
    ],
)
def test_time_limits_are_read(text: str, seconds: float | None) -> None:
    assert parsing.time_limit(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:xx", "x-01:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parsing.time_limit(text)


@pytest.mark.parametrize("text", ["", "Unknown", "2026-11-23T01:32:05"])
def test_what_is_no_moment_is_none(text: str) -> None:
    assert parsing.moment(text) is None


@pytest.mark.parametrize(
    ("job_ids", "words"),
    [
        ([], []),
        (["12_3", "12_4", "12_5"], ["12_[3-5]"]),
        (["12_5", "12_3", "12_4", "12_9"], ["12_[3-5,9]"]),
        (["12_3", "12_3"], ["12_[3]"]),
        (["12_3", "13_3", "12_4"], ["12_[3-4]", "13_[3]"]),
        (["12_0", "12_2"], ["12_[0,2]"]),
        (["14", "12_0"], ["14", "12_[0]"]),
    ],
)
def test_tasks_of_one_array_become_a_slice(job_ids: list[str], words: list[str]) -> None:
    assert parsing.slices(job_ids) == words


def test_a_slice_is_no_longer_than_a_word_may_be_and_no_task_is_left_out() -> None:
    words = parsing.slices(f"12_{index}" for index in range(0, 40_000, 2))

    assert max(map(len, words)) < 20_000
    indexes = [part for word in words for part in word[len("12_[") : -1].split(",")]
    assert indexes == [str(index) for index in range(0, 40_000, 2)]


def test_an_error_is_told_by_its_first_line_short_and_printable() -> None:
    assert parsing.first_line("\n  a\x1b[31mb\tc \nsecond\n") == "a?[31mb?c"
    assert len(parsing.first_line("x" * 10_000)) == 200
    assert parsing.first_line("") == ""
