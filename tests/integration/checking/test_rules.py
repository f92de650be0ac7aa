"""Every rule is broken, by hand-written SQL or on disk; the check sees that and nothing else."""

import contextlib
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.store import port
from support import checked_breaches, checked_damage, checked_site
from support.checked_site import Site

PAGE_BYTES = 4096


def test_nothing_is_wrong_where_all_is_right(made: Site) -> None:
    assert checked_site.lines(made.found()) == ""
    with contextlib.closing(made.open(read_only=True)) as store:
        done = made.check(store)
        assert list(done.run()) == []
    assert done.counts.line() == (
        "checked: 9 jobs, 11 attempts, 6 batches, 18 rows, 2 files, 150 bytes hashed, 0 notes, "
        "0 problems"
    )


@pytest.mark.parametrize(
    ("rule", "statements", "besides"),
    checked_breaches.BREAKING,
    ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(checked_breaches.BREAKING)],
)
def test_what_breaks_a_rule_of_the_store_is_seen(
    right_store: Site, rule: str, statements: str, besides: set[str]
) -> None:
    with right_store.by_hand() as connection:
        for statement in statements.split(";"):
            connection.execute(statement, right_store.job_ids())
    found = right_store.found()
    assert {finding.rule.name for finding in found} == {rule} | besides, checked_site.lines(found)


@pytest.mark.parametrize(("rule", "damage"), checked_damage.BREAKING)
def test_what_breaks_a_rule_on_disk_is_seen(
    made: Site, rule: str, damage: Callable[[Site], str]
) -> None:
    name = damage(made)
    found = made.found()
    assert {finding.rule.name for finding in found} == {rule}, checked_site.lines(found)
    assert name in checked_site.lines(found)


def test_every_rule_is_broken_by_some_test(made: Site) -> None:
    broken = {rule for rule, *_ in (*checked_breaches.BREAKING, *checked_damage.BREAKING)}
    with contextlib.closing(made.open(read_only=True)) as store:
        rules = made.check(store).rules()
    assert rules.keys() == broken
    assert len(rules) > 60
    assert all(rule.name == name and rule.broken for name, rule in rules.items())


def test_a_database_that_is_torn_anywhere_is_told_of_and_ends_no_check(
    right_store: Site,
) -> None:
    path = pathlib.Path(str(right_store.store))
    whole = path.read_bytes()
    pages = len(whole) // PAGE_BYTES
    unseen, unusable = [], []
    for page in range(1, pages, 2):
        torn = bytearray(whole)
        torn[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = bytes(range(256)) * (PAGE_BYTES // 256)
        path.write_bytes(torn)
        try:
            if not any(not finding.rule.is_note for finding in right_store.found()):
                unseen.append(page)
        except port.StoreUnusableError:
            unusable.append(page)
    assert unseen == []
    assert len(unusable) < pages / 4, "most damage is looked into"
