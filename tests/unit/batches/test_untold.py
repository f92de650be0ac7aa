"""What a stream has still to tell: each row once, nothing forgotten, and a position to trust."""

import hypothesis
from hypothesis import strategies as st

from dshpc_server.batches.untold import BEGINNING, Position, Untold


def told(rows: Untold, *indexes: int, ended_at: int | None = None) -> Position:
    for index in indexes:
        rows.told(index, ended_at)
    return rows.position


def test_rows_come_in_the_order_of_their_last_changes() -> None:
    rows = Untold()
    for index, stamp in ((1, 10), (2, 20), (1, 30), (3, 40)):
        rows.note(index, stamp)
    assert rows.take(2) == [2, 1]
    assert rows.take(9) == [3]
    assert not rows.is_waiting


def test_a_row_that_changes_while_it_is_in_hand_is_told_once_more() -> None:
    rows = Untold()
    rows.note(1, 10)
    assert rows.take(9) == [1]
    rows.note(1, 20)
    assert told(rows, 1) == Position(changed_at=19, ended_rows=0)
    assert rows.take(9) == [1]
    assert told(rows, 1, ended_at=20) == Position(changed_at=20, ended_rows=1)


def test_the_position_stays_before_what_was_not_told() -> None:
    rows = Untold()
    assert rows.position == BEGINNING
    for index, stamp in ((1, 10), (2, 20), (3, 30)):
        rows.note(index, stamp)
    rows.take(9)
    assert rows.position == Position(changed_at=9, ended_rows=0)
    assert told(rows, 1, ended_at=10) == Position(changed_at=19, ended_rows=1)
    assert told(rows, 3, ended_at=30) == Position(changed_at=19, ended_rows=1)
    assert told(rows, 2, ended_at=20) == Position(changed_at=30, ended_rows=3)


def test_of_what_one_transaction_changed_all_is_told_before_the_position_moves_on() -> None:
    rows = Untold()
    for index in range(3):
        rows.note(index, 10)
    rows.take(9)
    assert told(rows, 0, 1, ended_at=10) == Position(changed_at=9, ended_rows=0)
    assert told(rows, 2, ended_at=10) == Position(changed_at=10, ended_rows=3)


def test_what_is_not_told_is_left_behind() -> None:
    rows = Untold()
    rows.see(50)
    assert rows.position == Position(changed_at=50, ended_rows=0)
    rows.note(1, 60)
    rows.see(70)
    assert rows.position == Position(changed_at=59, ended_rows=0)


def test_a_stream_goes_on_from_its_position() -> None:
    rows = Untold(Position(changed_at=40, ended_rows=7))
    rows.note(1, 50)
    rows.take(9)
    assert told(rows, 1, ended_at=50) == Position(changed_at=50, ended_rows=8)


def test_what_comes_late_never_takes_the_position_back() -> None:
    rows = Untold()
    rows.note(1, 50)
    rows.take(9)
    assert told(rows, 1, ended_at=50) == Position(changed_at=50, ended_rows=1)
    rows.note(2, 40)  # another server's, whose stamp is older than its commit
    assert rows.position == Position(changed_at=50, ended_rows=1)
    rows.take(9)
    assert told(rows, 2, ended_at=40) == Position(changed_at=50, ended_rows=2)


# What another server commits may have any stamp.
steps = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30), st.integers(0, 3)), max_size=30)


@hypothesis.given(steps, st.booleans())
def test_a_position_is_only_trusted_when_all_before_it_was_told(
    history: list[tuple[int, int, int]],
    in_order: bool,  # noqa: FBT001 (drawn by hypothesis)
) -> None:
    """Each step: a row ends with a stamp, and so many of those that wait are taken and told."""
    rows, clock = Untold(), 0
    ended: dict[int, int] = {}
    was_told: set[int] = set()
    for index, stamp, count in history:
        clock += stamp
        if index not in ended:
            ended[index] = clock if in_order else stamp
            rows.note(index, ended[index])
        for taken in rows.take(count):
            was_told.add(taken)
            rows.told(taken, ended[taken])
        at = rows.position
        before = {row for row, ended_at in ended.items() if ended_at <= at.changed_at}
        assert at.ended_rows <= len(before)
        if at.ended_rows == len(before):
            assert before <= was_told
        if in_order:
            assert at.ended_rows == len(before)
