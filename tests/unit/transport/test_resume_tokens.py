"""Resume tokens: they come back as they were made, and nothing else comes through."""

import base64
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc_server import errors
from dshpc_server.batches.untold import Position
from dshpc_server.transport.resume_tokens import ResumeTokens

TOKENS = ResumeTokens("0123456789abcdef" * 2)
BATCH = "7b0e8c7e-2b7a-4f2c-9a53-0c1d8d1e2f3a"
POSITION = Position(changed_at=1_700_000_000_000_000, ended_rows=12)

numbers = st.integers(0, 2**63 - 1)


@hypothesis.given(st.text(min_size=1), numbers, numbers)
def test_a_token_comes_back_as_it_was_made(batch_id: str, changed_at: int, ended_rows: int) -> None:
    position = Position(changed_at=changed_at, ended_rows=ended_rows)
    token = TOKENS.token(batch_id, position)
    assert TOKENS.position("resume_token", token, batch_id) == position
    assert token.isascii()
    assert not set(token) & set("+/=")


def test_what_is_no_batch_has_no_token() -> None:
    assert TOKENS.token("", POSITION) == ""


def test_a_token_of_another_deployment_speaks_of_nothing_here() -> None:
    token = ResumeTokens("f" * 32).token(BATCH, POSITION)
    assert TOKENS.position("resume_token", token, BATCH) is None


def forged(*told: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "!",
        "ü",
        "x" * 100_000,
        "[" * 2_000,
        forged(),
        forged("01234567", BATCH, 1, 1),
        forged("01234567", BATCH, 1, 1, "0" * 16),
        forged("01234567", BATCH, *[True] * 2, "0" * 16),
        forged("01234567", BATCH, "1", None, 3),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        TOKENS.token(BATCH, POSITION)[:-3],
        TOKENS.token("another batch", POSITION),
    ],
)
def test_what_is_no_token_of_the_batch_is_refused_by_its_field(token: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        TOKENS.position("if_changed_since", token, BATCH)
    (violation,) = caught.value.violations
    assert violation.field == "if_changed_since"


@hypothesis.given(st.data())
def test_a_token_that_was_damaged_anywhere_is_refused(data: st.DataObject) -> None:
    token = TOKENS.token(BATCH, POSITION)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda each: each != token[at]))
    damaged = token[:at] + other + token[at + 1 :]
    try:
        assert TOKENS.position("resume_token", damaged, BATCH) == POSITION
    except errors.InvalidRequestError:
        return
    # Letters that base64 passes over, or bits that it does not use, change nothing.
    text = base64.urlsafe_b64decode(damaged + "=" * (-len(damaged) % 4))
    assert json.loads(text)[1:4] == [BATCH, POSITION.changed_at, POSITION.ended_rows]
