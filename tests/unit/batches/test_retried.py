"""What is retried of a batch, and what its rows come after in the new one."""

import dataclasses

import pytest

from dshpc_server.batches import retried
from dshpc_server.batches.request import Upstream
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome, Resources
from dshpc_server.store import records
from dshpc_server.store.undecided import Dependency
from support import store_values
from support import store_waiting as w

JOB_ID = store_values.sha("job")


def ended(index: int, *dependencies: Dependency) -> records.RetriableRow:
    """A row that named no job."""
    return records.RetriableRow(
        index=index,
        has_ended=True,
        head=b"",
        priority=None,
        job=None,
        config=b"config",
        dependencies=dependencies,
    )


def failed(index: int) -> records.RetriableRow:
    """A row with a job."""
    job = records.RetriedJob(
        spec=store_values.spec(index), resources=Resources(cpus=1), timeout_seconds=1.0
    )
    return dataclasses.replace(ended(index), job=job, config=None)


def blocked(index: int, *dependencies: Dependency) -> records.RetriableRow:
    return dataclasses.replace(ended(index, *dependencies), has_ended=False)


def standing(index: int, name: str, number: int = 1) -> records.RowState:
    """A row with a run of this job."""
    return records.RowState(
        index=index,
        outcome=Outcome.SUBMITTED,
        status=JobStatus.COMPLETED,
        chain=(store_values.sha(name), number),
        revision=1,
        changed_at=0,
    )


def on_new(index: int, name: str, condition: Condition = Condition.SUCCEEDED) -> Upstream:
    return Upstream(rows=range(index, index + 1), condition=condition, name=name)


def indexes(chosen: retried.Retried) -> list[int]:
    return [row.index for row in chosen.rows]


def test_what_is_retried_is_waited_for_at_its_new_place() -> None:
    chosen = retried.Retried(
        [failed(3), ended(5, w.on_row(9, Condition.FINISHED), w.on_row(3)), failed(9)]
    )
    assert indexes(chosen) == [3, 5, 9]
    assert (chosen.others, chosen.chains) == (set(), set())
    assert chosen.upstreams([], set()) == [
        [],
        [on_new(2, "row 9", Condition.FINISHED), on_new(0, "row 3")],
        [],
    ]


def test_of_what_is_not_retried_its_run_is_waited_for() -> None:
    chosen = retried.Retried([ended(4, w.on_row(2, input_name="left"), w.on_row(6)), failed(6)])
    assert chosen.others == {2}
    assert chosen.upstreams([standing(2, "job", 3)], set()) == [
        [
            Upstream(
                job_id=JOB_ID,
                chain=3,
                condition=Condition.SUCCEEDED,
                input_name="left",
                name="row 2",
            ),
            on_new(1, "row 6"),
        ],
        [],
    ]


@pytest.mark.parametrize("has_completed", [True, False])
def test_a_known_job_is_waited_for_in_its_result_or_else_its_newest_run(
    *, has_completed: bool
) -> None:
    on_job = w.on_job("job", 2, Condition.SUCCEEDED, "left")
    chosen = retried.Retried([ended(0, on_job)])
    chain = AttemptKey(job_id=JOB_ID, number=2)
    assert chosen.chains == {chain}
    upstreams = chosen.upstreams([], {chain} if has_completed else set())
    assert upstreams == [
        [
            Upstream(
                job_id=JOB_ID,
                chain=2 if has_completed else None,
                condition=Condition.SUCCEEDED,
                input_name="left",
                name="job job",
            )
        ]
    ]
    assert retried.jobs(upstreams) == (set() if has_completed else {JOB_ID})


def test_of_rows_that_still_wait_those_come_along_that_are_needed() -> None:
    rows = [
        blocked(0, w.on_job("job")),
        blocked(1, w.on_row(0)),
        blocked(2, w.on_row(1)),
        failed(3),
        ended(4, w.on_row(3), w.on_row(1)),
    ]
    chosen = retried.Retried(rows)
    assert indexes(chosen) == [0, 1, 3, 4]
    assert chosen.upstreams([], set())[3] == [on_new(2, "row 3"), on_new(1, "row 1")]
    assert indexes(retried.Retried(rows[:3])) == []
