"""Which launches go out together, and how short ones are packed."""

import dataclasses
import pathlib

import hypothesis
import pytest
from hypothesis import strategies

from dshpc_server.domain.job import AttemptKey, Basis, Packing, Resources, RunTime
from dshpc_server.engine import port
from dshpc_server.engine.slurm import arrays

ROOM = arrays.Room(max_array_tasks=1000, cpus=4, longest_seconds=None, can_signal=True)
SHORT = RunTime(seconds=0.1, basis=Basis.OBSERVED)
PACKING = arrays.Policy(pack_below_seconds=5, pack_jobs=50)


def launch(
    number: int,
    *,
    cpus: int = 1,
    memory_bytes: int = 0,
    gpus: int = 0,
    timeout_seconds: float = 60,
    run_time: RunTime | None = None,
    priority: int = 0,
) -> port.Launch:
    return port.Launch(
        key=AttemptKey(job_id=f"{number:064x}", number=1),
        folder=pathlib.Path(f"/attempts/{number}"),
        command=["sh"],
        script=pathlib.Path("/method/main.sh"),
        method_dir=pathlib.Path("/method"),
        method_name="method",
        inputs={},
        parameters_json="{}",
        resources=Resources(cpus=cpus, memory_bytes=memory_bytes, gpus=gpus),
        timeout_seconds=timeout_seconds,
        run_time=run_time,
        priority=priority,
    )


def test_jobs_of_one_shape_make_one_array_with_a_task_each() -> None:
    launches = [launch(number) for number in range(5)]
    (plan,) = arrays.plan(launches, PACKING, ROOM)
    assert plan.tasks == [[each] for each in launches]
    assert arrays.packing(plan.tasks[0]) is None


def test_what_nothing_asks_to_look_at_early_is_watched_late() -> None:
    long = RunTime(seconds=5, basis=Basis.DECLARED)
    (unknown,) = arrays.plan([launch(1, timeout_seconds=120)], PACKING, ROOM)
    assert unknown.shape.is_watched_late
    watched_at_once = [
        launch(1, timeout_seconds=119.9),
        launch(1, timeout_seconds=57_601),
        launch(1, timeout_seconds=120, memory_bytes=1),
        launch(1, timeout_seconds=120, run_time=long),
        launch(1, timeout_seconds=120, run_time=SHORT),  # packed
    ]
    for each in watched_at_once:
        (plan,) = arrays.plan([each], PACKING, ROOM)
        assert not plan.shape.is_watched_late
    unpacked = launch(1, timeout_seconds=120, run_time=SHORT)
    (plan,) = arrays.plan([unpacked], arrays.Policy(), ROOM)
    assert plan.shape.is_watched_late
    deaf = dataclasses.replace(ROOM, can_signal=False)
    (plan,) = arrays.plan([unpacked], arrays.Policy(), deaf)
    assert not plan.shape.is_watched_late


@pytest.mark.parametrize(
    "other",
    [
        launch(2, cpus=2),
        launch(2, memory_bytes=2**30),
        launch(2, gpus=1),
        launch(2, timeout_seconds=61),
        launch(2, priority=1),
        launch(2, run_time=SHORT),
    ],
)
def test_what_differs_in_shape_goes_into_another_array(other: port.Launch) -> None:
    plans = arrays.plan([launch(1), other, launch(3)], PACKING, ROOM)
    assert sorted(len(plan.tasks) for plan in plans) == [1, 2]


def test_an_array_is_never_larger_than_the_cluster_allows() -> None:
    room = dataclasses.replace(ROOM, max_array_tasks=2)
    plans = arrays.plan([launch(number) for number in range(5)], PACKING, room)
    assert [len(plan.tasks) for plan in plans] == [2, 2, 1]


def test_higher_priorities_go_first_and_stand_back_less() -> None:
    launches = [launch(1), launch(2, priority=100), launch(3, priority=-100)]
    plans = arrays.plan(launches, PACKING, ROOM)
    assert [plan.nice for plan in plans] == [0, 100, 200]


def test_short_jobs_are_spread_over_all_processors_before_they_are_packed() -> None:
    few = arrays.plan([launch(n, run_time=SHORT) for n in range(4)], PACKING, ROOM)
    assert [len(task) for task in few[0].tasks] == [1] * 4
    many = arrays.plan([launch(n, run_time=SHORT) for n in range(12)], PACKING, ROOM)
    assert [len(task) for task in many[0].tasks] == [3] * 4
    assert arrays.packing(many[0].tasks[0]) == Packing(jobs=3, basis=Basis.OBSERVED)


def test_a_parallel_cap_counts_as_fewer_processors() -> None:
    policy = dataclasses.replace(PACKING, parallel=2)
    (plan,) = arrays.plan([launch(n, run_time=SHORT) for n in range(12)], policy, ROOM)
    assert [len(task) for task in plan.tasks] == [6, 6]
    assert plan.parallel == 2


def test_no_more_are_packed_than_the_setting_says() -> None:
    policy = dataclasses.replace(PACKING, pack_jobs=2)
    (plan,) = arrays.plan([launch(n, run_time=SHORT) for n in range(12)], policy, ROOM)
    assert [len(task) for task in plan.tasks] == [2] * 6


def test_a_pack_is_not_expected_to_run_longer_than_a_minute() -> None:
    slow = RunTime(seconds=4, basis=Basis.DECLARED)
    (plan,) = arrays.plan([launch(n, run_time=slow) for n in range(400)], PACKING, ROOM)
    assert {len(task) for task in plan.tasks} == {15, 10}


def test_a_task_has_jobs_of_one_basis_alone() -> None:
    declared = RunTime(seconds=0.1, basis=Basis.DECLARED)
    launches = [launch(n, run_time=declared if n % 2 else SHORT) for n in range(16)]
    (plan,) = arrays.plan(launches, PACKING, ROOM)
    for task in plan.tasks:
        assert len({each.run_time for each in task}) == 1


@pytest.mark.parametrize(
    "policy",
    [
        arrays.Policy(pack_below_seconds=0, pack_jobs=50),
        arrays.Policy(pack_below_seconds=5, pack_jobs=1),
        arrays.Policy(pack_below_seconds=0.1, pack_jobs=50),
    ],
)
def test_jobs_that_are_not_short_by_the_setting_are_not_packed(policy: arrays.Policy) -> None:
    (plan,) = arrays.plan([launch(n, run_time=SHORT) for n in range(12)], policy, ROOM)
    assert [len(task) for task in plan.tasks] == [1] * 12


def test_the_time_limit_leaves_the_wrapper_to_enforce_the_jobs_own() -> None:
    (plan,) = arrays.plan([launch(1, timeout_seconds=60)], PACKING, ROOM)
    assert plan.minutes == 2
    many = [launch(n, run_time=SHORT, timeout_seconds=3600) for n in range(200)]
    (packed,) = arrays.plan(many, PACKING, ROOM)
    # 3,600 s for one, ten times the expected 0.1 s for each of the 49 others, 30 s to stop.
    assert packed.minutes == 62


def test_the_time_limit_is_never_more_than_the_cluster_allows() -> None:
    room = dataclasses.replace(ROOM, longest_seconds=3600)
    (plan,) = arrays.plan([launch(1, timeout_seconds=3600)], PACKING, room)
    assert plan.minutes == 60


def test_a_task_is_given_memory_for_the_wrapper_too() -> None:
    (plan,) = arrays.plan([launch(1, memory_bytes=2**30)], PACKING, ROOM)
    assert plan.memory_bytes == 2**30 + arrays.WRAPPER_BYTES
    assert arrays.left_for_jobs(Resources(memory_bytes=plan.memory_bytes)).memory_bytes == 2**30
    (default,) = arrays.plan([launch(1)], PACKING, ROOM)
    assert default.memory_bytes == 0


@hypothesis.given(
    wanted=strategies.lists(
        strategies.tuples(
            strategies.integers(1, 3),
            strategies.sampled_from([None, 0.01, 1.0, 4.0, 10.0]),
            strategies.sampled_from(list(Basis)),
        ),
        max_size=60,
    ),
    pack_jobs=strategies.integers(1, 20),
    limit=strategies.integers(1, 20),
)
def test_every_launch_is_in_exactly_one_task_and_no_limit_is_passed(
    wanted: list[tuple[int, float | None, Basis]], pack_jobs: int, limit: int
) -> None:
    launches = [
        launch(
            number,
            cpus=cpus,
            run_time=None if seconds is None else RunTime(seconds=seconds, basis=basis),
        )
        for number, (cpus, seconds, basis) in enumerate(wanted)
    ]
    policy = arrays.Policy(pack_below_seconds=5, pack_jobs=pack_jobs)
    room = dataclasses.replace(ROOM, max_array_tasks=limit)
    plans = arrays.plan(launches, policy, room)
    placed = [each for plan in plans for task in plan.tasks for each in task]
    assert sorted(each.key.job_id for each in placed) == [each.key.job_id for each in launches]
    for plan in plans:
        assert 1 <= len(plan.tasks) <= limit
        for task in plan.tasks:
            assert 1 <= len(task) <= pack_jobs
            assert {each.resources.cpus for each in task} == {plan.shape.cpus}
