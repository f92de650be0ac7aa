"""The identity recipe: vectors made elsewhere, the RFC's own samples, random documents."""

import hashlib
import json
import math
import pathlib
import struct
from random import Random
from typing import Any

import hypothesis
import pytest
import rfc8785
from hypothesis import strategies as st

from dshpc_server.domain import identity
from dshpc_server.domain.identity import Json

VECTORS = json.loads(pathlib.Path(__file__).with_name("identity_vectors.json").read_text())[
    "vectors"
]
FUNCTION = "0" * identity.HASH_LENGTH
NAMES = [vector["name"] for vector in VECTORS]

# RFC 8785, appendix B: the bits of a double and its text.
RFC_SAMPLES = [
    (0x0000000000000000, "0"),
    (0x8000000000000000, "0"),
    (0x0000000000000001, "5e-324"),
    (0x8000000000000001, "-5e-324"),
    (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
    (0xFFEFFFFFFFFFFFFF, "-1.7976931348623157e+308"),
    (0x4340000000000000, "9007199254740992"),
    (0xC340000000000000, "-9007199254740992"),
    (0x4430000000000000, "295147905179352830000"),
    (0x44B52D02C7E14AF5, "9.999999999999997e+22"),
    (0x44B52D02C7E14AF6, "1e+23"),
    (0x44B52D02C7E14AF7, "1.0000000000000001e+23"),
    (0x444B1AE4D6E2EF4E, "999999999999999700000"),
    (0x444B1AE4D6E2EF4F, "999999999999999900000"),
    (0x444B1AE4D6E2EF50, "1e+21"),
    (0x3EB0C6F7A0B5ED8C, "9.999999999999997e-7"),
    (0x3EB0C6F7A0B5ED8D, "0.000001"),
    (0x41B3DE4355555553, "333333333.3333332"),
    (0x41B3DE4355555554, "333333333.33333325"),
    (0x41B3DE4355555555, "333333333.3333333"),
    (0x41B3DE4355555556, "333333333.3333334"),
    (0x41B3DE4355555557, "333333333.33333343"),
    (0xBECBF647612F3696, "-0.0000033333333333333333"),
    (0x43143FF3C1CB0959, "1424953923781206.2"),
]

scalars = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner)
    ),
    max_leaves=12,
)


def job_id(parameters: Json, **inputs: str) -> str:
    return identity.job_id(
        function_hash=FUNCTION, inputs=inputs, parameters_json=identity.canonical(parameters)
    )


def same_document(one: Json, other: Json) -> bool:
    """Whether two JSON values are the same to a reader who has no integers; True is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_document(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_document, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_a_vector_made_elsewhere_is_matched(vector: dict[str, Any]) -> None:
    canonical = identity.canonical(json.loads(vector["parameters"], parse_int=float))
    assert canonical == vector["canonical"]
    found = identity.job_id(
        function_hash=vector["function_hash"],
        inputs=vector["inputs"],
        parameters_json=canonical,
    )
    assert found == vector["job_id"]


@pytest.mark.parametrize(("bits", "text"), RFC_SAMPLES)
def test_the_number_samples_of_the_rfc_are_matched(bits: int, text: str) -> None:
    (number,) = struct.unpack(">d", struct.pack(">Q", bits))
    assert identity.canonical(number) == text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match=r"nan|inf"):
        identity.canonical({"n": number})
    with pytest.raises(ValueError, match="is not a JSON number"):
        identity.normal_number(number)


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}], ids=["text", "key"])
def test_text_that_is_not_unicode_is_refused(value: Json) -> None:
    with pytest.raises(ValueError, match=r"codepoints|surrogates"):
        identity.canonical(value)


@hypothesis.given(documents)
def test_canonical_text_is_a_fixed_point(document: Json) -> None:
    text = identity.canonical(document)
    assert identity.canonical(json.loads(text, parse_int=float)) == text


@hypothesis.given(st.dictionaries(st.text(max_size=4, alphabet="abö€😂"), scalars), st.randoms())
def test_the_order_of_keys_makes_no_difference(document: dict[str, Json], random: Random) -> None:
    keys = list(document)
    random.shuffle(keys)
    assert identity.canonical({key: document[key] for key in keys}) == identity.canonical(document)


@hypothesis.given(st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1))
def test_an_integer_and_the_equal_double_are_one_number(number: int) -> None:
    assert job_id({"n": number}) == job_id({"n": float(number)})


@hypothesis.given(documents, documents)
def test_two_documents_share_an_id_only_when_they_are_the_same(one: Json, other: Json) -> None:
    assert (job_id(one) == job_id(other)) == same_document(one, other)


def test_everything_that_is_part_of_the_recipe_changes_the_id() -> None:
    a, b = "a" * identity.HASH_LENGTH, "b" * identity.HASH_LENGTH
    ids = {
        job_id({}),
        job_id({}, input=a),
        job_id({}, input=b),
        job_id({}, other=a),
        job_id({}, input=a, other=b),
        job_id({}, input=b, other=a),
        job_id({"n": 1}, input=a),
        job_id({"n": "1"}, input=a),
        job_id({"n": True}, input=a),
        identity.job_id(function_hash=a, inputs={}, parameters_json="{}"),
    }
    assert len(ids) == 10
    assert all(map(identity.is_hash, ids))


def test_the_order_in_which_inputs_are_named_makes_no_difference() -> None:
    a, b = "a" * identity.HASH_LENGTH, "b" * identity.HASH_LENGTH
    assert job_id({}, left=a, right=b) == job_id({}, right=b, left=a)


@pytest.mark.parametrize(
    ("text", "is_hash"),
    [
        (hashlib.sha256(b"").hexdigest(), True),
        (hashlib.sha256(b"").hexdigest().upper(), False),
        ("0" * 63, False),
        ("0" * 65, False),
        ("g" * 64, False),
        ("０" * 64, False),  # noqa: RUF001  # a full-width zero must not pass for a digit
        ("", False),
    ],
)
def test_a_hash_is_64_lower_case_hexadecimal_digits(text: str, *, is_hash: bool) -> None:
    assert identity.is_hash(text) is is_hash


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.0, 1),
        (-0.0, 0),
        (1.5, 1.5),
        (2.0**53 - 1, 2**53 - 1),
        (2.0**53, 2.0**53),
        (-(2.0**53), -(2.0**53)),
        (1e300, 1e300),
    ],
)
def test_a_method_sees_integral_doubles_as_integers(number: float, expected: float) -> None:
    normal = identity.normal_number(number)
    assert (type(normal), normal) == (type(expected), expected)
    assert math.copysign(1, normal) == math.copysign(1, expected)


@hypothesis.given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_normal_form_of_a_number_has_the_same_canonical_text(number: float) -> None:
    assert identity.canonical(identity.normal_number(number)) == identity.canonical(number)


@hypothesis.given(
    documents | st.integers() | st.dictionaries(st.text('a\x7f\n"\\é', max_size=3), st.integers())
)
def test_plain_values_are_written_as_the_library_writes_them(document: Json) -> None:
    try:
        expected = rfc8785.dumps(document).decode()
    except rfc8785.IntegerDomainError:
        with pytest.raises(ValueError, match="safe integer"):
            identity.canonical(document)
    else:
        assert identity.canonical(document) == expected
