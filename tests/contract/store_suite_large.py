"""What every store does with batches that are accepted in pieces."""

import dataclasses
from collections.abc import Sequence

import pytest

from contract import store_suite_opening
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import ContentGoingError, FencedError, RequestAcceptedError, Store
from dshpc_server.store.records import (
    AcceptedRequest,
    NewBatch,
    NextPiece,
    Row,
    StagedPiece,
    StrandedBatch,
)
from support import store_values as v
from support import store_waiting as w

OpenStore = store_suite_opening.OpenStore


def piece(number: int, row_count: int, *, batch_id: str = "large") -> StagedPiece:
    rows = b"piece %d" % number
    return StagedPiece(batch_id=batch_id, number=number, row_count=row_count, rows=rows)


def stage(store: Store, *pieces: StagedPiece) -> None:
    v.write(store, lambda writer: writer.stage(pieces))


def sealed(staged_rows: int, *, batch_id: str = "large") -> NewBatch:
    return NewBatch(
        batch_id=batch_id,
        display_name="many rows",
        created_at=v.NOON,
        rows=(),
        file_hashes=(),
        staged_rows=staged_rows,
    )


def accept_piece(store: Store, number: int, *names: str) -> Sequence[Row] | None:
    """Accept this piece: a row for each name, the first with the piece's number."""
    rows = [v.row(index, name) for index, name in enumerate(names, number)]
    of = v.batch("large", rows=rows)
    return v.write(store, lambda writer: writer.accept_piece(of, number))


def accept_rows(store: Store, number: int, names: dict[int, str]) -> None:
    """Accept this piece of these rows."""
    of = v.batch("large", rows=[v.row(index, name) for index, name in names.items()])
    assert v.write(store, lambda writer: writer.accept_piece(of, number))


def unstage(store: Store, batch_id: str = "large") -> bool:
    return v.write(store, lambda writer: writer.unstage(batch_id))


class AcceptingInPieces:
    def test_what_is_only_staged_is_nowhere_seen(self, store: Store) -> None:
        stage(store, piece(0, 2), piece(2, 1))
        assert not store.has_batch("large")
        assert not store.has_staged_rows("large")
        assert store.find_rows("large", first_index=0, limit=9) == []
        assert store.find_jobs(after=None, limit=9) == []
        assert store.find_next_piece("large") is None
        assert store.find_stranded_batches() == []
        assert v.claim_all(store) == []

    def test_a_sealed_batch_gives_its_pieces_in_order_and_is_not_shown(self, store: Store) -> None:
        stage(store, piece(2, 1), piece(0, 2))
        assert v.accept(store, sealed(3)) == []
        assert store.find_next_piece("large") == NextPiece(batch=sealed(3), piece=piece(0, 2))
        assert store.find_next_piece("large", 0) == NextPiece(batch=sealed(3), piece=piece(2, 1))
        assert store.find_next_piece("large", 2) is None
        assert not store.has_batch("large")
        assert store.has_staged_rows("large")
        assert store.find_stranded_batches() == []

    def test_a_batch_is_shown_whole_with_its_last_piece(self, store: Store) -> None:
        stage(store, piece(0, 2), piece(2, 1))
        v.accept(store, sealed(3))
        first = accept_piece(store, 0, "a", "b")
        assert first is not None
        assert not store.has_batch("large")
        assert store.has_staged_rows("large")
        assert store.find_rows("large", first_index=0, limit=9) == []
        assert store.find_next_piece("large") == NextPiece(batch=sealed(1), piece=piece(2, 1))
        last = accept_piece(store, 2, "c")
        assert last is not None
        assert store.has_batch("large")
        assert not store.has_staged_rows("large")
        assert v.rows_of(store, "large") == [*first, *last]
        assert store.find_next_piece("large") is None

    def test_rows_of_a_piece_are_decided_as_those_of_a_batch(self, store: Store) -> None:
        v.complete(store, "done", output="an output")
        stage(store, piece(0, 3), piece(3, 2))
        v.accept(store, sealed(5))
        rows = accept_piece(store, 0, "new", "done", "new")
        assert rows is not None
        assert [row.outcome for row in rows] == [
            Outcome.SUBMITTED,
            Outcome.FOUND_COMPLETED,
            Outcome.FOUND_IN_PROGRESS,
        ]
        rows = accept_piece(store, 3, "other", "new")
        assert rows is not None
        assert [(row.index, row.outcome) for row in rows] == [
            (3, Outcome.SUBMITTED),
            (4, Outcome.FOUND_IN_PROGRESS),
        ]
        assert [row.attempt and row.attempt.created_at for row in rows] == [v.NOON, v.NOON]
        assert [key.job_id for key in v.claim_all(store)] == [v.sha("new"), v.sha("other")]

    def test_jobs_of_a_large_batch_run_in_the_order_of_its_rows_in_turns_with_those_of_others(
        self, store: Store
    ) -> None:
        stage(store, piece(0, 2), piece(1, 2))
        v.accept(store, sealed(4))
        accept_rows(store, 0, {3: "d", 0: "a"})
        v.accept(store, v.batch("small", "x", at=v.later(1)))
        accept_rows(store, 1, {1: "b", 2: "c"})
        v.accept(store, v.batch("later", "y", "z", at=v.later(2)))
        in_order = [v.sha(name) for name in "axybzcd"]
        assert [key.job_id for key in v.claim_all(store)] == in_order

    def test_a_piece_is_accepted_once(self, store: Store) -> None:
        stage(store, piece(0, 1), piece(1, 1))
        v.accept(store, sealed(2))
        assert accept_piece(store, 0, "a")
        assert accept_piece(store, 0, "a") is None
        assert accept_piece(store, 9, "b") is None
        assert not store.has_batch("large")
        assert accept_piece(store, 1, "b")
        assert [row.index for row in v.rows_of(store, "large")] == [0, 1]

    def test_who_asks_for_a_staged_job_has_it_run_and_the_large_batch_finds_it(
        self, store: Store
    ) -> None:
        stage(store, piece(0, 1))
        (before,) = v.accept(store, v.batch("before", "job"))
        v.accept(store, sealed(1))
        (after,) = v.accept(store, v.batch("after", "job"))
        assert [before.outcome, after.outcome] == [Outcome.SUBMITTED, Outcome.FOUND_IN_PROGRESS]
        v.end(store, "job")
        rows = accept_piece(store, 0, "job")
        assert rows is not None
        assert rows[0].outcome is Outcome.FOUND_COMPLETED

    def test_a_named_batch_is_found_by_its_name_from_the_seal_on(self, store: Store) -> None:
        name = v.request_name(1)
        stage(store, piece(0, 1), piece(0, 1, batch_id="second"))
        assert store.find_request(name.request_id) is None
        v.accept(store, dataclasses.replace(sealed(1), request=name))
        of_large = AcceptedRequest(name=name, batch_id="large")
        assert store.find_request(name.request_id) == of_large
        with pytest.raises(RequestAcceptedError) as refused:
            v.accept(store, dataclasses.replace(sealed(1, batch_id="second"), request=name))
        assert refused.value.accepted == of_large
        assert not unstage(store, "second")
        assert accept_piece(store, 0, "a")
        assert store.find_request(name.request_id) == of_large

    def test_a_piece_comes_with_what_its_batch_was_sealed_as(self, store: Store) -> None:
        asked = dataclasses.replace(
            sealed(1), request=v.request_name(1), max_failures=3, priority=-7
        )
        stage(store, piece(0, 1))
        v.accept(store, asked)
        assert store.find_next_piece("large") == NextPiece(batch=asked, piece=piece(0, 1))

    def test_what_is_not_shown_is_neither_withdrawn_nor_hurried_nor_counted(
        self, store: Store
    ) -> None:
        stage(store, piece(0, 1), piece(1, 1))
        v.accept(store, dataclasses.replace(sealed(2), max_failures=1))
        assert accept_piece(store, 0, "a")
        assert v.withdraw(store, "large") is None
        assert not v.write(store, lambda writer: writer.set_priority("large", 5))
        assert store.find_retriable_rows("large") == []
        v.end(store, "a", Event.EXITED_NONZERO)
        assert store.find_failure_limits(None) == {}
        assert store.find_failure_limits([v.sha("a")], batch_ids=["large"]) == {}
        assert accept_piece(store, 1, "b")
        assert store.find_failure_limits(None) == {"large": 1}
        assert store.find_failure_limits([], batch_ids=["large"]) == {"large": 1}
        assert v.write(store, lambda writer: writer.set_priority("large", 5))
        assert len(store.find_retriable_rows("large")) == 1
        assert v.withdraw(store, "large") is not None

    def test_rows_wait_for_those_of_later_pieces(self, store: Store) -> None:
        stage(store, piece(0, 1), piece(1, 1))
        v.accept(store, sealed(2))
        waits = v.batch("large", rows=[w.waiting(0, w.on_row(1))])
        v.write(store, lambda writer: writer.accept_piece(waits, 0))
        assert w.settle(store, None).ready == []
        assert accept_piece(store, 1, "upstream")
        assert w.settle(store, None).ready == []
        v.end(store, "upstream")
        (ready,) = w.settle(store, None).ready
        assert (ready.batch_id, ready.index) == ("large", 0)

    def test_what_is_unstaged_leaves_nothing(self, store: Store) -> None:
        stage(store, piece(0, 2), piece(0, 1, batch_id="other"))
        assert not unstage(store)
        assert not unstage(store)
        with pytest.raises(FencedError):
            v.accept(store, sealed(2))
        assert not store.has_batch("large")
        v.accept(store, sealed(1, batch_id="other"))

    def test_a_sealed_batch_is_not_unstaged(self, store: Store) -> None:
        stage(store, piece(0, 1))
        v.accept(store, sealed(1))
        assert unstage(store)
        assert accept_piece(store, 0, "a")
        assert unstage(store)
        assert store.has_batch("large")

    def test_a_batch_of_which_pieces_are_lacking_cannot_be_sealed(self, store: Store) -> None:
        stage(store, piece(0, 2))
        with pytest.raises(FencedError):
            v.accept(store, sealed(3))
        assert store.find_next_piece("large") is None
        assert v.accept(store, sealed(2)) == []

    def test_a_batch_is_sealed_once(self, store: Store) -> None:
        stage(store, piece(0, 2))
        v.accept(store, sealed(2))
        with pytest.raises(ValueError, match="large"):
            v.accept(store, sealed(2))

    def test_a_piece_that_needs_what_is_being_deleted_stays_to_be_accepted(
        self, store: Store
    ) -> None:
        stage(store, piece(0, 1))
        v.accept(store, sealed(1))
        v.begin_deleting(store, v.sha("going"))
        needing = v.batch("large", "a", file_hashes=[v.sha("going")])
        with pytest.raises(ContentGoingError):
            v.write(store, lambda writer: writer.accept_piece(needing, 0))
        assert v.claim_all(store) == []
        assert accept_piece(store, 0, "a")
        assert v.status(store, "a") is JobStatus.PENDING

    def test_pieces_of_a_server_that_is_gone_are_stranded(self, open_store: OpenStore) -> None:
        dying = open_store()
        stage(dying, piece(0, 1), piece(1, 1), piece(0, 1, batch_id="unsealed"))
        v.accept(dying, sealed(2))
        assert accept_piece(dying, 0, "a")
        gone = dying.server_id
        dying.close()
        store = open_store()
        v.take_over(store, gone)
        assert store.find_stranded_batches() == [
            StrandedBatch(batch_id="large", is_sealed=True),
            StrandedBatch(batch_id="unsealed", is_sealed=False),
        ]
        assert unstage(store)
        assert not unstage(store, "unsealed")
        assert accept_piece(store, 1, "b")
        assert store.find_stranded_batches() == []
        assert [row.index for row in v.rows_of(store, "large")] == [0, 1]
        store.close()
