"""Pages of rows: none lost, none twice, none too large, exactly as filtered."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc_server import errors
from dshpc_server.batches import encoding, results
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import port, records
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.transport import encoder
from support import store_values

ENCODE = functools.partial(encoding.encoded_row, encoder=encoder.MultiJobResultEncoder())
ALL = results.Filter()
LARGE = 10_000
MANY = 1200
"""More than two pieces of what is read at one time."""


def sized(row: records.NewRow, size: int) -> records.NewRow:
    """The same row with an echo so long that begins with its index."""
    return dataclasses.replace(row, head=b"%06d" % row.index + b"x" * size)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """Batches "many" (rejected rows), "mixed" (of every kind), "large" (one row in the middle)."""
    folder: pathlib.Path = tmp_path_factory.mktemp("results")
    with contextlib.closing(SqlStore.open(folder / "store.db")) as opened:
        many = [sized(store_values.rejected(index), 8) for index in range(MANY)]
        store_values.accept(opened, store_values.batch("many", rows=many))
        store_values.accept(opened, store_values.batch("earlier", "done"))
        store_values.end(opened, "done")
        store_values.accept(opened, store_values.batch("failing", "bad"))
        store_values.end(opened, "bad", Event.EXITED_NONZERO)
        mixed = [
            store_values.row(0, "done"),
            store_values.rejected(1),
            store_values.row(2, "new"),
            store_values.row(3, "bad"),
            store_values.row(4, "new"),
            store_values.row(5, "done"),
        ]
        mixed = [sized(row, 8) for row in mixed]
        store_values.accept(opened, store_values.batch("mixed", rows=mixed))
        large = [sized(store_values.rejected(i), LARGE if i == 2 else 8) for i in range(5)]
        store_values.accept(opened, store_values.batch("large", rows=large))
        yield opened


def page(
    store: SqlStore,
    batch_id: str,
    *,
    first_index: int = 0,
    max_rows: int = MANY,
    max_bytes: int = 10**6,
    wanted: results.Filter = ALL,
) -> tuple[list[int], int | None]:
    """The indexes that a page tells, and where it goes on."""
    found = results.read_page(
        store,
        ENCODE,
        batch_id,
        first_index=first_index,
        max_rows=max_rows,
        max_bytes=max_bytes,
        wanted=wanted,
    )
    return [int(row[:6]) for row in found.rows], found.next_index


@pytest.mark.parametrize(
    ("max_rows", "next_index"),
    [
        *((rows, rows) for rows in (1, 15, 16, 17, 48, 1007, 1008, 1009, 1199)),  # edges of pieces
        (1200, None),
    ],
)
def test_a_page_has_as_many_rows_as_asked(
    store: SqlStore, max_rows: int, next_index: int | None
) -> None:
    assert page(store, "many", max_rows=max_rows) == (list(range(max_rows)), next_index)


def test_what_is_left_is_the_last_page(store: SqlStore) -> None:
    assert page(store, "many", first_index=1190) == (list(range(1190, 1200)), None)
    assert page(store, "many", first_index=1200) == ([], None)
    assert page(store, "many", first_index=2**31 - 1) == ([], None)


@hypothesis.given(st.integers(100, 700), st.integers(2000, 40_000))
@hypothesis.settings(max_examples=10)
def test_pages_after_each_other_tell_every_row_once(
    store: SqlStore, max_rows: int, max_bytes: int
) -> None:
    told: list[int] = []
    first: int | None = 0
    while first is not None:
        indexes, first = page(
            store, "many", first_index=first, max_rows=max_rows, max_bytes=max_bytes
        )
        assert 0 < len(indexes) <= max_rows
        told += indexes
    assert told == list(range(MANY))


def test_a_row_over_the_limit_still_gets_through_alone(store: SqlStore) -> None:
    limit = LARGE // 2
    assert page(store, "large", max_bytes=limit) == ([0, 1], 2)
    assert page(store, "large", first_index=2, max_bytes=limit) == ([2], 3)
    assert page(store, "large", first_index=3, max_bytes=limit) == ([3, 4], None)


class ReadingCounted:
    """A store that counts the rows it was asked to read."""

    def __init__(self, store: SqlStore) -> None:
        self.rows_read = 0
        self.has_batch = store.has_batch
        self._find_rows = store.find_rows

    def find_rows(self, batch_id: str, **asked: Any) -> Sequence[records.Row]:  # noqa: ANN401 - handed on
        found = self._find_rows(batch_id, **asked)
        self.rows_read += len(found)
        return found


@pytest.mark.parametrize("told", [1, 10, 100, 1000])
def test_a_page_cut_by_bytes_reads_few_rows_in_vain(store: SqlStore, told: int) -> None:
    counted = ReadingCounted(store)
    size = (
        len(
            results.read_page(
                store, ENCODE, "many", first_index=0, max_rows=1, max_bytes=1, wanted=ALL
            ).rows[0]
        )
        + results.FRAME_BYTES
    )
    found = results.read_page(
        cast("port.Reader", counted),
        ENCODE,
        "many",
        first_index=0,
        max_rows=MANY,
        max_bytes=told * size,
        wanted=ALL,
    )
    assert len(found.rows) == told
    assert counted.rows_read <= 16 + 2 * told


@pytest.mark.parametrize(
    ("wanted", "indexes"),
    [
        (results.Filter(statuses=[JobStatus.COMPLETED]), [0, 5]),
        (results.Filter(statuses=[JobStatus.PENDING]), [2, 3, 4]),
        (results.Filter(outcomes=[Outcome.REJECTED]), [1]),
        (results.Filter(outcomes=[Outcome.SUBMITTED, Outcome.RESUBMITTED]), [2, 3]),
        (results.Filter(outcomes=[Outcome.FOUND_IN_PROGRESS]), [4]),
        (
            results.Filter(statuses=[JobStatus.PENDING], outcomes=[Outcome.RESUBMITTED]),
            [3],
        ),
        (results.Filter(statuses=[JobStatus.CANCELLED]), []),
        (results.Filter(statuses=list(JobStatus)), [0, 2, 3, 4, 5]),
        (results.Filter(outcomes=list(Outcome)), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_filter_lets_through_what_it_names(
    store: SqlStore, wanted: results.Filter, indexes: list[int]
) -> None:
    assert page(store, "mixed", wanted=wanted) == (indexes, None)


def test_a_filtered_page_goes_on_at_the_next_row_that_passes(store: SqlStore) -> None:
    wanted = results.Filter(statuses=[JobStatus.COMPLETED])
    assert page(store, "mixed", wanted=wanted, max_rows=1) == ([0], 5)
    assert page(store, "mixed", wanted=wanted, max_rows=1, first_index=5) == ([5], None)


def test_an_unknown_batch_is_not_found(store: SqlStore) -> None:
    with pytest.raises(errors.NotFoundError, match="batch 'absent' not found"):
        page(store, "absent")


@hypothesis.given(st.lists(st.binary(max_size=50), max_size=20), st.integers(0, 600))
def test_what_fits_is_as_much_as_fits_with_its_frames(rows: list[bytes], max_bytes: int) -> None:
    asked: list[bytes] = []

    def each() -> Iterator[bytes]:
        for row in rows:
            asked.append(row)
            yield row

    taken = results.fitting(each(), max_bytes)
    count = len(taken)
    assert taken == rows[:count]
    assert asked == rows[: count + 1]  # one more than fits is looked at, and no other
    size = sum(len(row) + results.FRAME_BYTES for row in rows[:count])
    assert size <= max_bytes or count <= 1
    assert count >= min(1, len(rows))
    if 0 < count < len(rows):
        assert size + len(rows[count]) + results.FRAME_BYTES > max_bytes
