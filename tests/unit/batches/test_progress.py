"""A batch's progress: whatever comes in whatever order, the counts are those of its rows."""

import hypothesis
from hypothesis import strategies as st

from dshpc_server.batches.progress import BatchProgress
from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.statistics import Statistics, Tally
from dshpc_server.store.records import Attempt, Row
from support import batches_values as values

FOUND = [Outcome.SUBMITTED, Outcome.RESUBMITTED, Outcome.FOUND_IN_PROGRESS]
NAMES = "abc"

changes = st.builds(
    values.attempt,
    st.sampled_from(NAMES + "xyz"),
    st.sampled_from(JobStatus),
    number=st.integers(1, 3),
    chain=st.integers(1, 2),
    revision=st.integers(1, 6),
)
rows_with_jobs = st.builds(values.row, st.sampled_from(FOUND), changes)
rows_without = st.builds(values.row, st.just(Outcome.REJECTED), rejection=st.just(b"no"))


def recounted(rows: list[Row]) -> Statistics:
    tally = Tally()
    for row in rows:
        tally.add(row.outcome, None if row.attempt is None else row.attempt.status)
    return tally.snapshot()


def consistent(rows: list[Row]) -> list[Row]:
    """Let rows with one chain agree on how it stands, as rows of one acceptance do."""
    seen: dict[object, Attempt] = {}

    def agreed(attempt: Attempt) -> Attempt:
        return seen.setdefault((attempt.key.job_id, attempt.chain), attempt)

    return [
        row if row.attempt is None else values.row(row.outcome, agreed(row.attempt)) for row in rows
    ]


@hypothesis.given(
    st.lists(rows_with_jobs | rows_without, max_size=8).map(consistent),
    st.lists(changes, max_size=20),
)
@hypothesis.settings(max_examples=80)
def test_any_history_keeps_the_counts_those_of_the_rows(
    rows: list[Row], history: list[Attempt]
) -> None:
    """Late, repeated and foreign changes are among them."""
    progress = BatchProgress(rows)
    for change in history:
        before = list(progress.rows)
        changed = progress.apply(change)
        after = list(progress.rows)
        assert progress.statistics() == recounted(after)
        assert list(changed) == [
            row for row, old in zip(after, before, strict=True) if row is not old
        ]
        assert all(row.attempt == change for row in changed)
        has_open_row = any(
            row.attempt is not None and row.attempt.status not in job.TERMINAL for row in after
        )
        assert progress.is_finished == (not has_open_row) == progress.statistics().final


@hypothesis.given(st.lists(rows_with_jobs, max_size=8).map(consistent), changes)
@hypothesis.settings(max_examples=60)
def test_what_has_ended_never_changes_again(rows: list[Row], change: Attempt) -> None:
    ended = [row for row in rows if row.attempt and row.attempt.status in job.TERMINAL]
    progress = BatchProgress(ended)
    assert progress.is_finished
    assert progress.apply(change) == ()
    assert list(progress.rows) == ended


def test_rows_that_share_an_attempt_move_together() -> None:
    pending = values.attempt("a")
    progress = BatchProgress([values.row(of=pending, index=index) for index in range(3)])
    running = values.attempt("a", JobStatus.RUNNING, revision=2)
    assert [row.index for row in progress.apply(running)] == [0, 1, 2]
    assert progress.statistics().in_progress_jobs == 3
    done = values.attempt("a", JobStatus.COMPLETED, revision=3)
    assert len(progress.apply(done)) == 3
    assert progress.statistics().completed_jobs == 3
    assert progress.is_finished


def test_a_change_that_was_known_already_changes_nothing() -> None:
    running = values.attempt("a", JobStatus.RUNNING, revision=2)
    progress = BatchProgress([values.row(of=running)])
    assert progress.apply(running) == ()
    assert progress.apply(values.attempt("a", JobStatus.CONFIGURING, revision=1)) == ()
    assert progress.apply(values.attempt("a", JobStatus.COMPLETED, revision=3, number=2)) == ()
    assert not progress.is_finished


def test_no_rows_are_finished_rows() -> None:
    assert BatchProgress([]).is_finished
    assert BatchProgress([]).statistics() == Tally().snapshot()


def test_a_row_goes_on_with_the_retry_of_its_attempt() -> None:
    running = values.attempt("a", JobStatus.RUNNING, revision=3)
    progress = BatchProgress([values.row(of=running)])
    lost = values.attempt("a", JobStatus.NODE_FAIL, revision=4, is_retried=True)
    assert progress.apply(lost) == ()
    assert progress.statistics().in_progress_jobs == 1
    waiting = values.attempt("a", JobStatus.PENDING, revision=5, number=2, chain=1)
    (row,) = progress.apply(waiting)
    assert row.attempt == waiting
    assert not progress.statistics().final
    assert progress.apply(lost) == ()
    assert progress.apply(running) == ()
    done = values.attempt("a", JobStatus.COMPLETED, revision=8, number=2, chain=1)
    (row,) = progress.apply(done)
    assert row.attempt == done
    assert progress.is_finished
    assert progress.statistics().completed_jobs == 1


def test_a_retry_may_be_heard_of_first_or_alone() -> None:
    progress = BatchProgress([values.row(of=values.attempt("a", JobStatus.RUNNING, revision=3))])
    third = values.attempt("a", JobStatus.RUNNING, revision=11, number=3, chain=1)
    (row,) = progress.apply(third)
    assert row.attempt == third
    second = values.attempt("a", JobStatus.NODE_FAIL, revision=8, number=2, chain=1)
    assert progress.apply(second) == ()


def test_another_chain_of_the_same_job_is_not_the_rows() -> None:
    progress = BatchProgress([values.row(of=values.attempt("a", JobStatus.RUNNING, revision=3))])
    refreshed = values.attempt("a", JobStatus.RUNNING, revision=9, number=2)
    retried = values.attempt("a", JobStatus.COMPLETED, revision=12, number=3, chain=2)
    assert progress.apply(refreshed) == progress.apply(retried) == ()
    assert not progress.is_finished
