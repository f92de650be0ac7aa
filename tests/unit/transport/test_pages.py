"""Page tokens lead on in the request they came from, and nowhere else."""

import base64
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc_server import errors
from dshpc_server.transport import pages

ASKED = pages.batch_rows("b", [1, 2], [3])
OTHERS = [
    pages.batch_rows("c", [1, 2], [3]),
    pages.batch_rows("b", [1], [3]),
    pages.batch_rows("b", [1, 2]),
    pages.batch_rows("b", [1, 2, 3]),
    ("batch_rows", "b"),
    ("methods",),
    (),
]


def forged(value: object) -> str:
    """Return a token of any content; the position may be anything, the checksum is right."""
    _, checksum = json.loads(base64.urlsafe_b64decode(pages.token(0, *ASKED) + "=="))
    text = json.dumps(value).replace('"CHECKSUM"', json.dumps(checksum))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@hypothesis.given(st.integers(0, 2**31 - 1))
def test_a_number_comes_back_from_its_token(position: int) -> None:
    assert pages.index(pages.token(position, *ASKED), *ASKED) == position


@hypothesis.given(st.text())
def test_a_name_comes_back_from_its_token(name: str) -> None:
    made = pages.token(name, "methods")
    assert made.isascii()
    assert pages.name(made, "methods") == name


def test_no_token_is_the_beginning() -> None:
    assert pages.index("", *ASKED) == 0
    assert pages.name("", "methods") == ""


def test_filters_are_sets_so_their_order_does_not_count() -> None:
    again = pages.batch_rows("b", [2, 1, 2], [3, 3])
    assert pages.index(pages.token(7, *ASKED), *again) == 7


@pytest.mark.parametrize("other", OTHERS)
def test_a_token_of_another_request_is_refused(other: tuple[object, ...]) -> None:
    with pytest.raises(errors.InvalidRequestError, match="page_token"):
        pages.index(pages.token(7, *other), *ASKED)


@pytest.mark.parametrize(
    "position",
    [True, False, -1, 2**31, 2**63, 10**400, 1.0, 1e308, None, "1", [1], {"1": 1}],
)
def test_a_position_that_no_row_has_is_refused(position: object) -> None:
    with pytest.raises(errors.InvalidRequestError, match="page_token"):
        pages.index(forged([position, "CHECKSUM"]), *ASKED)


@pytest.mark.parametrize(
    "content",
    ["CHECKSUM", ["CHECKSUM"], [1, "CHECKSUM", 2], {"1": "CHECKSUM"}, 5, None, [1, None], []],
)
def test_a_token_of_another_form_is_refused(content: object) -> None:
    with pytest.raises(errors.InvalidRequestError, match="page_token"):
        pages.index(forged(content), *ASKED)


@hypothesis.given(st.text(min_size=1, max_size=40))
@hypothesis.example("[" * 100_000)
@hypothesis.example(base64.b64encode(b"[" * 100_000).decode())
@hypothesis.example(base64.b64encode(b"\xff\xfe[1, 2]").decode())
@hypothesis.example(base64.b64encode(b"[" + b"1" * 5000 + b", 1]").decode())
def test_garbage_is_refused_whatever_it_is(garbage: str) -> None:
    for read in (pages.index, pages.name):
        with pytest.raises(errors.InvalidRequestError, match="page_token"):
            read(garbage, *ASKED)


def test_a_name_where_a_number_is_due_is_refused_and_the_other_way_round() -> None:
    with pytest.raises(errors.InvalidRequestError):
        pages.name(pages.token(7, *ASKED), *ASKED)
    with pytest.raises(errors.InvalidRequestError):
        pages.index(pages.token("seven", *ASKED), *ASKED)
