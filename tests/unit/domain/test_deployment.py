"""What follows from the ids of a store and a data folder: every case, and what holds of all."""

import itertools

import pytest

from dshpc_server.domain import deployment
from dshpc_server.domain.deployment import Decision, Standing

ONE, OTHER = "1" * 32, "2" * 32
FACTS = ("is_begun", "store_is_new", "folder_is_new", "store_lies_inside")
ALL = [
    Standing(store_id=store_id, folder_id=folder_id, **dict(zip(FACTS, facts, strict=True)))
    for store_id, folder_id in itertools.product((None, ONE, OTHER), repeat=2)
    for facts in itertools.product((False, True), repeat=len(FACTS))
]


def decided(store_id: str | None, folder_id: str | None, *facts: str) -> Decision:
    """What follows where only these facts hold."""
    return deployment.decide(
        Standing(store_id=store_id, folder_id=folder_id, **{name: name in facts for name in FACTS})
    )


@pytest.mark.parametrize(
    ("store_id", "folder_id", "facts", "decision"),
    [
        (ONE, ONE, [], Decision.SAME),
        (ONE, OTHER, [], Decision.DIFFERENT),
        (ONE, OTHER, ["store_lies_inside"], Decision.DIFFERENT),
        # Both are new.
        (None, None, ["store_is_new", "folder_is_new"], Decision.MAKE),
        # Both are of an older version.
        (None, None, [], Decision.MAKE),
        (None, None, ["store_lies_inside"], Decision.MAKE),
        (None, None, ["store_lies_inside", "folder_is_new"], Decision.MAKE),
        # The one is of an older version, the other new: whatever is lost by it was lost before.
        (None, None, ["store_is_new"], Decision.MAKE),
        (None, None, ["folder_is_new"], Decision.EMPTY_FOLDER),
        # A start was cut short.
        (ONE, None, ["is_begun"], Decision.GIVE_FOLDER),
        (ONE, None, ["is_begun", "folder_is_new"], Decision.GIVE_FOLDER),
        # Another folder, or the same one without its file.
        (ONE, None, ["folder_is_new"], Decision.OTHER_FOLDER),
        (ONE, None, [], Decision.OTHER_FOLDER),
        (ONE, None, ["store_lies_inside"], Decision.GIVE_FOLDER),
        (ONE, None, ["store_lies_inside", "folder_is_new"], Decision.OTHER_FOLDER),
        # Another store, or one of an older version that was put back.
        (None, ONE, ["store_is_new"], Decision.OTHER_STORE),
        (None, ONE, ["store_is_new", "store_lies_inside"], Decision.OTHER_STORE),
        (None, ONE, [], Decision.OTHER_STORE),
        (None, ONE, ["store_lies_inside"], Decision.GIVE_STORE),
    ],
)
def test_what_follows(
    store_id: str | None, folder_id: str | None, facts: list[str], decision: Decision
) -> None:
    assert decided(store_id, folder_id, *facts) is decision


def test_ids_are_what_counts_where_both_have_one_and_none_is_replaced() -> None:
    for standing in ALL:
        decision = deployment.decide(standing)
        if standing.store_id is not None and standing.folder_id is not None:
            is_same = standing.store_id == standing.folder_id
            assert decision is (Decision.SAME if is_same else Decision.DIFFERENT)
        else:
            assert decision not in (Decision.SAME, Decision.DIFFERENT)
        if decision is Decision.MAKE:
            assert (standing.store_id, standing.folder_id) == (None, None)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (ONE, True),
        ("0123456789abcdef" * 2, True),
        ("", False),
        ("1" * 31, False),
        ("1" * 33, False),
        ("A" * 32, False),
        (f"{ONE}\n", False),
        ("\N{ARABIC-INDIC DIGIT ONE}" * 32, False),
    ],
)
def test_an_id_is_32_hexadecimal_digits(text: str, is_one: bool) -> None:  # noqa: FBT001
    assert deployment.is_id(text) is is_one
