"""Whose attempts wait for a server, and whose are nobody's though somebody is there."""

import contextlib
from collections.abc import Collection

import pytest

from dshpc_server.store.sql import columns
from support.checked_site import SCOPE, Site

FOREVER = 1 << 62


def broken(made: Site, dead: Collection[str] = ()) -> set[str]:
    with contextlib.closing(made.open(read_only=True)) as store:
        store.gone = lambda asked: set(asked).intersection(dead)
        return {name for name in ("owner_is_known", "owner_lives") if store.breaches(name)}


def servers(made: Site, *records: tuple[str, str, int | None]) -> None:
    """Let these be the servers: name, scope, end of the lease. The attempt that runs is `a`'s."""
    with made.by_hand() as connection:
        connection.execute("DELETE FROM servers")
        connection.execute("UPDATE attempts SET owner = 'a' WHERE owner IS NOT NULL")
        connection.executemany("INSERT INTO servers VALUES (?, ?, 0, ?)", records)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([("a", SCOPE, FOREVER)], set()),
        ([("a", SCOPE, None)], set()),
        ([], {"owner_lives"}),
        ([("a", SCOPE, 5)], {"owner_lives"}),
        # Of another node: it may not take over, and cannot know.
        ([("a", SCOPE, 5), ("b", "local/elsewhere", FOREVER)], {"owner_lives"}),
        ([("a", SCOPE, 5), ("b", SCOPE, 6)], {"owner_lives"}),
        # It will, soon.
        ([("a", SCOPE, 5), ("b", SCOPE, FOREVER)], set()),
        ([("b", "local/elsewhere", FOREVER)], {"owner_is_known"}),
        ([("b", "local/elsewhere", 5)], {"owner_lives"}),
    ],
)
def test_what_nobody_takes_over_is_told(
    right_store: Site, records: list[tuple[str, str, int | None]], expected: set[str]
) -> None:
    servers(right_store, *records)
    assert broken(right_store) == expected


def test_a_server_that_is_known_to_be_dead_does_not_count(right_store: Site) -> None:
    servers(right_store, ("a", SCOPE, None), ("b", SCOPE, None))
    assert broken(right_store, dead=["a"]) == set()
    assert broken(right_store, dead=["a", "b"]) == {"owner_lives"}
    servers(right_store, ("b", SCOPE, None))
    assert broken(right_store) == {"owner_is_known"}
    assert broken(right_store, dead=["b"]) == {"owner_lives"}


def test_a_server_that_has_just_begun_has_a_moment_to_take_over(right_store: Site) -> None:
    servers(right_store, ("b", SCOPE, None))
    with right_store.by_hand() as connection:
        begun = columns.moment(right_store.clock.now())
        connection.execute("UPDATE servers SET joined_at = ?", [begun])
    right_store.clock.advance(50)
    assert broken(right_store) == set()
    right_store.clock.advance(11)
    assert broken(right_store) == {"owner_is_known"}
