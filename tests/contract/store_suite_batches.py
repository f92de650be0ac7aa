"""What every store keeps and answers of batches: stamps, states of rows, tallies, listings."""

import datetime

import pytest

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import Attempt, BatchTally, NewRow, Row, RowState
from dshpc_server.store.sql.store import SqlStore
from support import store_rows
from support import store_values as v


def states(store: Store, batch_id: str) -> list[RowState]:
    return list(store.find_row_states(batch_id, first_index=0, limit=99))


def rows_of(store: Store, batch_id: str) -> list[Row]:
    return list(store.find_rows(batch_id, first_index=0, limit=99))


class Stamping:
    """Everything that changes has the stamp of its transaction."""

    def test_what_a_batch_makes_has_one_stamp(self, store: Store) -> None:
        accepted = v.accept(store, v.batch("b", "x", "y"))
        stamps = {row.changed_at for row in accepted}
        stamps |= {row.attempt.changed_at for row in accepted if row.attempt}
        (stamp,) = stamps
        assert stamp > 0
        assert rows_of(store, "b") == accepted

    def test_every_change_of_an_attempt_has_a_later_stamp(self, store: Store) -> None:
        def look() -> None:
            newest = v.newest(store, "job")
            seen.append(newest.changed_at)
            (state,) = states(store, "b")
            assert state.changed_at == newest.changed_at

        seen: list[int] = []
        v.accept(store, v.batch("b", "job"))
        look()
        v.claim_all(store)
        look()
        v.record(store, v.report("job", Event.STARTED))
        look()
        (failed, again) = v.fail(store, "job")
        assert failed.changed_at == again.changed_at
        look()
        v.claim_all(store)
        v.record(store, v.report("job", Event.SUCCEEDED, number=2))
        look()
        assert seen == sorted(set(seen))

    def test_what_is_told_of_a_change_is_what_is_stored(self, store: Store) -> None:
        told: list[Attempt] = []
        for work in (
            lambda writer: writer.accept(v.batch("b", "job", "other")),
            lambda writer: writer.claim(lambda _: True, 1),
            lambda writer: writer.record([v.report("job", Event.STARTED)]),
            lambda writer: writer.cancel([v.sha("other")], "why", lambda _: v.an_ending()),
        ):
            told = [*told, *store.write([work]).changes]
        last = {attempt.key.job_id: attempt for attempt in told}
        assert last == store.find_attempts(last)

    def test_works_of_one_commit_share_a_stamp(self, store: Store) -> None:
        commit = store.write(
            [
                lambda writer: writer.accept(v.batch("a", "x")),
                lambda writer: writer.accept(v.batch("b", "y")),
            ]
        )
        assert len({attempt.changed_at for attempt in commit.changes}) == 1

    def test_a_row_that_found_its_answer_is_stamped_when_it_was_accepted(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("before", "job"))
        v.end(store, "job")
        (found,) = v.accept(store, v.batch("b", "job"))
        assert found.attempt is not None
        assert found.changed_at > found.attempt.changed_at
        assert states(store, "b") == [found.state]
        assert found.state.changed_at == found.changed_at


class StatesOfRows:
    """The little that followers of a batch go by."""

    def test_they_are_those_of_the_rows(self, store: Store) -> None:
        v.accept(store, v.batch("before", "done", "failed"))
        v.claim_all(store)
        v.record(store, v.report("done", Event.SUCCEEDED), v.report("failed", Event.EXITED_NONZERO))
        rows = [v.row(0, "done"), v.row(1, "new"), v.rejected(2), v.row(3, "failed")]
        rows += [v.row(4, "unknown", policy=v.ONLY)]
        v.accept(store, v.batch("b", rows=rows))
        found = states(store, "b")
        assert found == [row.state for row in rows_of(store, "b")]
        assert [state.status for state in found] == [
            JobStatus.COMPLETED,
            JobStatus.PENDING,
            None,
            JobStatus.PENDING,
            None,
        ]
        assert [state.has_ended for state in found] == [True, False, True, False, True]
        assert found[3].chain == (v.sha("failed"), 2)

    def test_they_come_in_pages_and_by_index(self, store: Store) -> None:
        v.accept(store, v.batch("b", *range(5)))
        pages = [store.find_row_states("b", first_index=first, limit=2) for first in (0, 2, 4, 5)]
        assert [[state.index for state in page] for page in pages] == [[0, 1], [2, 3], [4], []]
        assert [state.index for state in store.find_row_states_by_index("b", [4, 9, 1])] == [1, 4]
        assert list(store.find_row_states_by_index("other", [1])) == []

    def test_whole_rows_are_found_by_index(self, store: Store) -> None:
        v.accept(store, v.batch("b", *range(700)))
        wanted = [699, 3, *range(40, 640), 7_000]
        found = store.find_rows_by_index("b", wanted)
        assert [row.index for row in found] == sorted(wanted)[:-1]
        assert list(store.find_rows_by_index("b", [])) == []
        assert found[0] == store.find_rows("b", first_index=3, limit=1)[0]

    def test_a_retry_is_the_row_s_own(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.fail(store, "job")
        (state,) = states(store, "b")
        assert (state.status, state.chain) == (JobStatus.PENDING, (v.sha("job"), 1))
        assert state.revision == v.newest(store, "job").revision


class EndedByThemselves:
    """Rows that ended by themselves, whatever becomes of their attempts."""

    def test_a_withdrawn_row_stands_as_it_ended(self, store: SqlStore) -> None:
        v.accept(store, v.batch("b", "job", "other"))
        store_rows.end_row(store, "b", 0, JobStatus.CANCELLED)
        v.end(store, "job")
        withdrawn, other = rows_of(store, "b")
        assert (withdrawn.status, withdrawn.ending) == (JobStatus.CANCELLED, b"ending")
        assert withdrawn.attempt is not None
        assert withdrawn.attempt.status is JobStatus.COMPLETED
        assert other.status is JobStatus.CONFIGURING
        assert [row.state for row in (withdrawn, other)] == states(store, "b")
        assert withdrawn.state.changed_at == withdrawn.changed_at < withdrawn.attempt.changed_at
        assert withdrawn.state.has_ended

    def test_a_row_that_was_not_looked_up_is_blocked_and_then_withheld(
        self, store: SqlStore
    ) -> None:
        v.accept(store, v.batch("b", rows=[v.rejected(0), v.rejected(1)]))
        store_rows.end_row(store, "b", 0, None, outcome=Outcome.PENDING)
        store_rows.end_row(store, "b", 1, JobStatus.SKIPPED, outcome=Outcome.WITHHELD)
        assert [row.status for row in rows_of(store, "b")] == [
            JobStatus.BLOCKED,
            JobStatus.SKIPPED,
        ]
        assert [row.state for row in rows_of(store, "b")] == states(store, "b")
        tally = v.tally(store, "b")
        assert tally.rows == {
            (Outcome.PENDING, JobStatus.BLOCKED): 1,
            (Outcome.WITHHELD, JobStatus.SKIPPED): 1,
        }
        assert (tally.ended_rows, tally.is_final) == (1, False)

    @pytest.mark.parametrize(
        ("statuses", "indexes"),
        [
            ([JobStatus.CANCELLED], [0]),
            ([JobStatus.COMPLETED], [1]),
            ([JobStatus.BLOCKED], [2]),
            ([JobStatus.BLOCKED, JobStatus.CANCELLED], [0, 2]),
            ([], [0, 1, 2, 3]),
        ],
    )
    def test_filters_go_by_how_the_row_stands(
        self, store: SqlStore, statuses: list[JobStatus], indexes: list[int]
    ) -> None:
        rows = [v.row(0, "a"), v.row(1, "b"), v.rejected(2), v.rejected(3)]
        v.accept(store, v.batch("b", rows=rows))
        v.claim_all(store)
        v.record(store, v.report("a", Event.SUCCEEDED), v.report("b", Event.SUCCEEDED))
        store_rows.end_row(store, "b", 0, JobStatus.CANCELLED)
        store_rows.end_row(store, "b", 2, None, outcome=Outcome.PENDING)
        assert [row.index for row in v.rows_of(store, "b", *statuses)] == indexes


class Tallies:
    """How many rows of a batch are what."""

    def test_rows_are_counted_by_outcome_and_status(self, store: Store) -> None:
        v.accept(store, v.batch("before", "done"))
        v.end(store, "done")
        v.accept(store, v.batch("b", rows=[v.row(0, "done"), *map(_new, range(1, 4))], at=v.NOON))
        tally = v.tally(store, "b")
        assert tally.rows == {
            (Outcome.FOUND_COMPLETED, JobStatus.COMPLETED): 1,
            (Outcome.SUBMITTED, JobStatus.PENDING): 3,
        }
        assert (tally.ended_rows, tally.is_final) == (1, False)
        assert tally.changed_at == max(state.changed_at for state in states(store, "b"))
        v.end(store, 2, at=v.later(9))
        after = v.tally(store, "b")
        assert after.rows[Outcome.SUBMITTED, JobStatus.COMPLETED] == 1
        assert (after.ended_rows, after.ended_at) == (2, v.later(9))
        assert after.changed_at > tally.changed_at

    def test_many_batches_are_counted_at_once_and_unknown_ones_left_out(self, store: Store) -> None:
        v.accept(store, v.batch("a", "x"))
        v.accept(store, v.batch("b", "x", "y"))
        found = store.find_tallies(["a", "b", "unknown"])
        assert {name: sum(tally.rows.values()) for name, tally in found.items()} == {"a": 1, "b": 2}
        assert store.find_tallies([]) == {}

    def test_a_batch_does_not_end_before_it_was_accepted(self, store: Store) -> None:
        v.accept(store, v.batch("before", "done"))
        v.end(store, "done")
        v.accept(store, v.batch("b", "done", at=v.later(100)))
        tally = v.tally(store, "b")
        assert (tally.is_final, tally.ended_at) == (True, v.later(100))
        v.accept(store, v.batch("rejected", rows=[v.rejected(0)], at=v.later(50)))
        assert v.tally(store, "rejected").ended_at == v.later(50)

    def test_the_end_of_a_batch_is_kept_once(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        running = v.tally(store, "b")
        with pytest.raises(ValueError, match="not ended"):
            _keep(store, "b", running)
        assert _kept(store, "b") is None
        v.end(store, "job", at=v.later(3))
        ended = v.tally(store, "b")
        _keep(store, "b", ended)
        assert _kept(store, "b") == ended
        _keep(store, "b", _other(ended))
        assert _kept(store, "b") == ended

    def test_an_end_by_itself_counts_with_its_own_moment(self, store: SqlStore) -> None:
        v.accept(store, v.batch("b", "job"))
        store_rows.end_row(store, "b", 0, JobStatus.CANCELLED)
        v.end(store, "job", at=v.later(1000))
        tally = v.tally(store, "b")
        assert tally.rows == {(Outcome.SUBMITTED, JobStatus.CANCELLED): 1}
        assert (tally.is_final, tally.ended_at) == (True, store_rows.ENDED_AT)


class ListingBatches:
    """Batches without their rows."""

    def test_a_batch_is_found_as_it_was_accepted(self, store: Store) -> None:
        v.accept(store, v.batch("b", "x", "y", at=v.later(3)))
        found = store.find_batch("b")
        assert found is not None
        assert (found.batch_id, found.display_name) == ("b", "the batch b")
        assert (found.created_at, found.row_count) == (v.later(3), 2)
        assert (found.priority, found.cancel_reason, found.tally) == (0, None, None)
        assert store.find_batch("other") is None

    def test_the_newest_come_first_in_pages(self, store: Store) -> None:
        for number in (2, 0, 4, 1, 3):
            v.accept(store, v.batch(f"b{number}", number, at=v.later(number // 2)))
        first = store.find_batches(after=None, limit=2)
        assert [batch.batch_id for batch in first] == ["b4", "b3"]
        rest = store.find_batches(after=v.position(first[-1]), limit=9)
        assert [batch.batch_id for batch in rest] == ["b2", "b1", "b0"]
        v.accept(store, v.batch("newer", "newer", at=v.later(9)))
        again = store.find_batches(after=v.position(first[-1]), limit=9)
        assert again == rest
        assert list(store.find_batches(after=v.position(rest[-1]), limit=9)) == []


def _new(index: int) -> NewRow:
    return v.row(index, index)


def _keep(store: Store, batch_id: str, tally: BatchTally) -> None:
    v.write(store, lambda writer: writer.keep_tally(batch_id, tally))


def _kept(store: Store, batch_id: str) -> BatchTally | None:
    found = store.find_batch(batch_id)
    assert found is not None
    return found.tally


def _other(tally: BatchTally) -> BatchTally:
    return BatchTally(
        rows={(Outcome.REJECTED, None): 9},
        ended_rows=9,
        changed_at=tally.changed_at + 1,
        ended_at=tally.ended_at + datetime.timedelta(seconds=1),
    )
