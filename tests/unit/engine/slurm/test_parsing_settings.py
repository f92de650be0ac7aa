"""What scontrol and sinfo of Slurm 22.05 printed, read; and ids, as scancel takes them."""

import datetime

import pytest

from dshpc_server.domain.job import Resources
from dshpc_server.engine.slurm import cluster, parsing

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


def test_the_limits_are_read_from_the_configuration() -> None:
    assert parsing.limits(_CONFIG) == cluster.Limits(
        max_array_tasks=100_001,
        max_jobs=200_000,
        has_accounting=False,
        booted_at=datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC),
    )


def test_a_site_may_allow_fewer_tasks_than_its_largest_index() -> None:
    text = _CONFIG.replace("bf_continue", "max_array_tasks=500,bf_continue")

    assert parsing.limits(text).max_array_tasks == 500


def test_accounting_is_there_with_a_database_daemon() -> None:
    text = _CONFIG.replace("accounting_storage/none", "accounting_storage/slurmdbd")

    assert parsing.limits(text).has_accounting


@pytest.mark.parametrize("name", ["Prolog", "TaskProlog"])
def test_what_a_site_runs_before_each_task_is_its_prolog(name: str) -> None:
    assert not parsing.limits(_CONFIG + f"{name} = (null)\n").has_prolog
    assert parsing.limits(_CONFIG + f"{name} = /etc/slurm/prolog.sh\n").has_prolog


@pytest.mark.parametrize("text", ["", "ClusterName = jobtest\n", _CONFIG.replace("200000", "?")])
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
