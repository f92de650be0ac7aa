"""A batch's progress: whatever comes in whatever order, the counts are those of its rows."""

import dataclasses

import hypothesis
from hypothesis import strategies as st

from dshpc_server.batches.progress import BatchProgress
from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.statistics import Statistics, Tally
from dshpc_server.store.records import Attempt, Row, RowState
from support import batches_values as values
from support import store_values

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


def recounted(states: list[RowState]) -> Statistics:
    tally = Tally()
    for state in states:
        tally.add(state.outcome, state.status)
    return tally.snapshot()


def consistent(rows: list[Row]) -> list[RowState]:
    """Number rows, and let those with one chain agree on how it stands, as in one acceptance."""
    seen: dict[object, Attempt] = {}

    def agreed(attempt: Attempt) -> Attempt:
        return seen.setdefault((attempt.key.job_id, attempt.chain), attempt)

    return [
        dataclasses.replace(row, index=index, attempt=row.attempt and agreed(row.attempt)).state
        for index, row in enumerate(rows)
    ]


def of(*attempts: Attempt) -> BatchProgress:
    return BatchProgress(
        values.row(of=attempt, index=index).state for index, attempt in enumerate(attempts)
    )


@hypothesis.given(
    st.lists(rows_with_jobs | rows_without, max_size=8).map(consistent),
    st.lists(changes, max_size=20),
)
def test_any_history_keeps_the_counts_those_of_the_rows(
    states: list[RowState], history: list[Attempt]
) -> None:
    """Late, repeated and foreign changes are among them."""
    progress = BatchProgress(states)
    known = {state.index: state for state in states}
    for change in history:
        changed = progress.apply(change)
        for state in changed:
            before = known[state.index]
            assert not before.has_ended
            assert state.chain == before.chain == (change.key.job_id, change.chain)
            assert (state.status, state.revision) == (change.status, change.revision)
            assert state.revision > before.revision
            known[state.index] = state
        unchanged = known.keys() - {state.index for state in changed}
        assert all(_is_passed_over(known[index], change) for index in unchanged)
        assert progress.statistics() == recounted(list(known.values()))
        still_open = {index for index, state in known.items() if not state.has_ended}
        assert set(progress.open_rows) == still_open
        assert progress.is_finished == (not still_open) == progress.statistics().final


def _is_passed_over(state: RowState, change: Attempt) -> bool:
    is_of_row = state.chain == (change.key.job_id, change.chain)
    return state.has_ended or not is_of_row or change.revision <= state.revision


@hypothesis.given(st.lists(rows_with_jobs, max_size=8).map(consistent), changes)
def test_what_has_ended_never_changes_again(states: list[RowState], change: Attempt) -> None:
    ended = [state for state in states if state.status in job.TERMINAL]
    progress = BatchProgress(ended)
    counts = progress.statistics()
    assert progress.is_finished
    assert progress.apply(change) == []
    assert not any(
        progress.update(dataclasses.replace(state, status=JobStatus.RUNNING)) for state in ended
    )
    assert progress.statistics() == counts


def test_rows_that_share_an_attempt_move_together() -> None:
    pending = values.attempt("a")
    progress = of(pending, pending, pending)
    running = values.attempt("a", JobStatus.RUNNING, revision=2)
    assert [state.index for state in progress.apply(running)] == [0, 1, 2]
    assert progress.statistics().in_progress_jobs == 3
    done = values.attempt("a", JobStatus.COMPLETED, revision=3)
    assert len(progress.apply(done)) == 3
    assert progress.statistics().completed_jobs == 3
    assert progress.is_finished


@hypothesis.given(st.permutations(range(5)), st.integers(0, 5))
def test_rows_that_share_an_attempt_leave_it_in_any_order(order: list[int], leaving: int) -> None:
    running = values.attempt("a", JobStatus.RUNNING, revision=2)
    progress = of(*[running] * len(order))
    for index in order[:leaving]:
        row = values.row(of=running, index=index)
        withdrawn = dataclasses.replace(row, ended_as=JobStatus.CANCELLED, ending=b"enough").state
        assert progress.update(withdrawn)
    assert progress.open_jobs == ({store_values.sha("a")} if leaving < len(order) else set())
    moved = progress.apply(values.attempt("a", JobStatus.COMPLETED, revision=3))
    assert sorted(state.index for state in moved) == sorted(order[leaving:])
    assert progress.is_finished
    assert progress.open_jobs == set()


class CountedIndex(int):
    """An index of a row that counts how often one was compared with another."""

    comparisons = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        CountedIndex.comparisons += 1
        return int.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        CountedIndex.comparisons += 1
        return int.__ne__(self, other)


def test_of_many_rows_that_share_an_attempt_none_is_compared_with_all_others() -> None:
    rows, running = 2_000, values.row(of=values.attempt("a", JobStatus.RUNNING, revision=2)).state
    progress = BatchProgress(
        dataclasses.replace(running, index=CountedIndex(index)) for index in range(rows)
    )
    assert len(progress.apply(values.attempt("a", JobStatus.COMPLETED, revision=3))) == rows
    assert progress.is_finished
    assert CountedIndex.comparisons < 10 * rows


def test_a_change_that_was_known_already_changes_nothing() -> None:
    running = values.attempt("a", JobStatus.RUNNING, revision=2)
    progress = of(running)
    assert progress.apply(running) == []
    assert progress.apply(values.attempt("a", JobStatus.CONFIGURING, revision=1)) == []
    assert progress.apply(values.attempt("a", JobStatus.COMPLETED, revision=3, number=2)) == []
    assert not progress.is_finished


def test_no_rows_are_finished_rows() -> None:
    assert BatchProgress().is_finished
    assert BatchProgress().statistics() == Tally().snapshot()


def test_a_row_goes_on_with_the_retry_of_its_attempt() -> None:
    running = values.attempt("a", JobStatus.RUNNING, revision=3)
    progress = of(running)
    lost = values.attempt("a", JobStatus.NODE_FAIL, revision=4, is_retried=True)
    assert progress.apply(lost) == []
    assert progress.statistics().in_progress_jobs == 1
    waiting = values.attempt("a", JobStatus.PENDING, revision=5, number=2, chain=1)
    (state,) = progress.apply(waiting)
    assert (state.status, state.revision) == (JobStatus.PENDING, 5)
    assert not progress.statistics().final
    assert progress.apply(lost) == []
    assert progress.apply(running) == []
    done = values.attempt("a", JobStatus.COMPLETED, revision=8, number=2, chain=1)
    (state,) = progress.apply(done)
    assert state.status is JobStatus.COMPLETED
    assert progress.is_finished
    assert progress.statistics().completed_jobs == 1


def test_a_retry_may_be_heard_of_first_or_alone() -> None:
    progress = of(values.attempt("a", JobStatus.RUNNING, revision=3))
    third = values.attempt("a", JobStatus.RUNNING, revision=11, number=3, chain=1)
    (state,) = progress.apply(third)
    assert state.revision == 11
    second = values.attempt("a", JobStatus.NODE_FAIL, revision=8, number=2, chain=1)
    assert progress.apply(second) == []


def test_another_chain_of_the_same_job_is_not_the_rows() -> None:
    progress = of(values.attempt("a", JobStatus.RUNNING, revision=3))
    refreshed = values.attempt("a", JobStatus.RUNNING, revision=9, number=2)
    retried = values.attempt("a", JobStatus.COMPLETED, revision=12, number=3, chain=2)
    assert progress.apply(refreshed) == progress.apply(retried) == []
    assert not progress.is_finished


def test_a_row_that_was_withdrawn_has_ended_and_its_run_goes_on_for_the_others() -> None:
    running = values.attempt("a", JobStatus.RUNNING, revision=3)
    progress = of(running, running)
    row = values.row(of=running)
    withdrawn = dataclasses.replace(row, ended_as=JobStatus.CANCELLED, ending=b"enough").state
    assert progress.update(withdrawn)
    assert not progress.update(withdrawn)
    assert progress.statistics().cancelled_jobs == 1
    (state,) = progress.apply(values.attempt("a", JobStatus.COMPLETED, revision=4))
    assert state.index == 1
    assert progress.statistics().cancelled_jobs == progress.statistics().completed_jobs == 1
    assert progress.is_finished


def test_a_row_that_is_decided_later_goes_on_with_its_job() -> None:
    progress = BatchProgress([values.row(Outcome.PENDING).state])
    assert progress.statistics().undecided_jobs == progress.statistics().in_progress_jobs == 1
    assert progress.open_jobs == set()
    decided = values.row(Outcome.SUBMITTED, values.attempt("a"))
    assert progress.update(decided.state)
    assert progress.open_jobs == {store_values.sha("a")}
    assert progress.statistics().submitted_jobs == progress.statistics().in_progress_jobs == 1
    assert progress.statistics().undecided_jobs == 0
    assert progress.apply(values.attempt("a", JobStatus.COMPLETED, revision=2))
    assert progress.is_finished


def test_a_row_is_known_as_it_stands_or_when_it_has_ended() -> None:
    pending = values.attempt("a")
    progress = of(pending)
    before = values.row(of=pending).state
    assert progress.is_known(before)
    (after,) = progress.apply(values.attempt("a", JobStatus.RUNNING, revision=2))
    assert not progress.is_known(before)
    assert progress.is_known(after)


@hypothesis.given(st.lists(rows_with_jobs | rows_without, max_size=8))
def test_whole_rows_are_known_like_how_they_stand(rows: list[Row]) -> None:
    states = consistent(rows)
    numbered = [dataclasses.replace(row, index=index) for index, row in enumerate(rows)]
    of_states = BatchProgress(row.state for row in numbered)
    of_rows = BatchProgress.of_rows(numbered)
    assert len(states) == of_rows.statistics().total_jobs
    assert of_rows.statistics() == of_states.statistics()
    assert of_rows.open_rows == of_states.open_rows
    assert of_rows.open_jobs == of_states.open_jobs
    assert all(of_rows.is_known(row.state) for row in numbered)
