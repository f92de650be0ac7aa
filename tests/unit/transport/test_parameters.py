"""Parameters at the edge: what JSON can say is read as it was meant, and the rest is refused."""

import json
import math

import hypothesis
import pytest
from google.protobuf import struct_pb2
from hypothesis import strategies as st

from dshpc_server.batches.request import Parameters
from dshpc_server.domain import identity
from dshpc_server.domain.rejection import Reason, Rejection
from dshpc_server.transport import parameters
from support import transport_values as values

Object = dict[str, identity.Json]


def read(struct: struct_pb2.Struct, **limits: float) -> Parameters | Rejection:
    reader = parameters.ParameterReader(values.within(**limits))
    return reader.read(struct.SerializeToString())


def accepted(struct: struct_pb2.Struct, **limits: float) -> Parameters:
    found = read(struct, **limits)
    assert isinstance(found, Parameters), found
    return found


def refused(struct: struct_pb2.Struct, **limits: float) -> Rejection:
    found = read(struct, **limits)
    assert isinstance(found, Rejection), found
    assert found.reason is Reason.INVALID_PARAMETERS
    return found


def number(value: float) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.fields["n"].number_value = value
    return made


@hypothesis.given(values.json_objects)
def test_any_json_object_is_read_as_it_was_meant(value: Object) -> None:
    found = accepted(values.struct(value))
    assert found.value == value
    assert found.canonical == identity.canonical(found.value)
    # Numbers are doubles: beyond 2**53 their shortest digits stand for them.
    assert json.loads(found.canonical, parse_int=float) == value


@hypothesis.given(values.json_objects)
def test_what_is_remembered_is_what_is_read_anew(value: Object) -> None:
    reader = parameters.ParameterReader(values.LIMITS)
    encoded = values.struct(value).SerializeToString()
    first = reader.read(encoded)
    assert reader.read(encoded) == first
    assert reader._read(encoded) == first


@hypothesis.given(values.json_objects, st.integers(1, 400), st.integers(1, 20), st.integers(1, 4))
def test_what_is_read_in_parts_is_what_is_read_whole(
    value: Object, max_bytes: int, max_nodes: int, max_depth: int
) -> None:
    limits = values.within(
        max_parameters_bytes=max_bytes,
        max_parameters_nodes=max_nodes,
        max_parameters_depth=max_depth,
    )
    whole = parameters.ParameterReader(limits)
    in_parts = parameters.PartsReader(parameters.ParameterReader(limits))
    # In their order in the message, which is not that of the canonical text.
    names = sorted(value, reverse=True)
    parts = [values.struct({name: value[name]}).SerializeToString() for name in names]
    encoded = b"".join(parts)
    for _ in range(2):  # what is remembered is no other
        assert in_parts.read(parts, encoded) == whole.read(encoded)


def test_parts_are_read_as_long_as_there_are_more_of_them_than_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parameters, "_REMEMBERED_PARTS", 2)
    reader = parameters.PartsReader(parameters.ParameterReader(values.LIMITS))
    for n in (1, 2, 3, 1):
        parts = [number(n).SerializeToString(), values.struct({"a": n}).SerializeToString()]
        found = reader.read(parts, b"".join(parts))
        assert isinstance(found, Parameters)
        assert found.canonical == f'{{"a":{n},"n":{n}}}'


def test_parameters_too_long_to_be_remembered_are_read_every_time() -> None:
    reader = parameters.ParameterReader(values.within(max_parameters_bytes=100_000))
    encoded = values.struct({"long": "x" * 50_000}).SerializeToString()
    first, second = reader.read(encoded), reader.read(encoded)
    assert isinstance(first, Parameters)
    assert first == second
    assert reader._remembered.cache_info().currsize == 0


def test_no_parameters_are_an_empty_object() -> None:
    reader = parameters.ParameterReader(values.LIMITS)
    assert reader.read(b"") == Parameters(value={}, canonical="{}")
    assert accepted(struct_pb2.Struct()) == Parameters(value={}, canonical="{}")


def test_the_order_in_which_keys_were_sent_does_not_count() -> None:
    forth, back = struct_pb2.Struct(), struct_pb2.Struct()
    for name in ("a", "b", "é", "z"):
        forth.fields[name].string_value = name
    for name in ("z", "é", "b", "a"):
        back.fields[name].string_value = name
    assert accepted(forth).canonical == accepted(back).canonical


@pytest.mark.parametrize(
    ("sent", "canonical", "kind"),
    [
        (-0.0, "0", int),
        (1.0, "1", int),
        (-7.0, "-7", int),
        (0.1, "0.1", float),
        (2.0**53 - 1, "9007199254740991", int),
        (2.0**53, "9007199254740992", float),
        (-(2.0**60), "-1152921504606847000", float),
        (1e21, "1e+21", float),
        (1e300, "1e+300", float),
        (5e-324, "5e-324", float),
    ],
)
def test_numbers_are_doubles_and_integral_ones_integers(
    sent: float, canonical: str, kind: type
) -> None:
    found = accepted(number(sent))
    assert found.canonical == f'{{"n":{canonical}}}'
    assert type(found.value["n"]) is kind


@pytest.mark.parametrize("sent", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_number_is_refused_by_its_path(sent: float) -> None:
    struct = struct_pb2.Struct()
    items = struct.fields["outer"].struct_value.fields["list"].list_value.values
    items.add(number_value=1)
    items.add(number_value=sent)
    rejection = refused(struct)
    assert [violation.field for violation in rejection.violations] == ["parameters.outer.list[1]"]
    assert str(sent) in rejection.message


def test_a_value_without_a_kind_is_refused() -> None:
    struct = struct_pb2.Struct()
    struct.fields["empty"].SetInParent()
    assert refused(struct).violations[0].field == "parameters.empty"
    struct = struct_pb2.Struct()
    struct.fields["list"].list_value.values.add()
    assert refused(struct).violations[0].field == "parameters.list[0]"


def test_nesting_is_allowed_up_to_the_limit() -> None:
    assert accepted(values.nested(6)).canonical == '{"in":' * 5 + "{}" + "}" * 5
    assert "max_parameters_depth of 6" in refused(values.nested(7)).message


def test_lists_count_as_nesting_too() -> None:
    struct = struct_pb2.Struct()
    items = struct.fields["list"].list_value
    for _ in range(4):
        items = items.values.add().list_value
    items.SetInParent()
    accepted(struct)
    items.values.add().list_value.SetInParent()
    assert "max_parameters_depth" in refused(struct).message


def test_values_are_allowed_up_to_the_limit() -> None:
    struct = struct_pb2.Struct()
    struct["list"] = [0] * 199
    accepted(struct)
    struct["list"] = [0] * 200
    rejection = refused(struct)
    assert "max_parameters_nodes of 200" in rejection.message
    assert rejection.violations[0].field == "parameters.list[199]"


@pytest.mark.parametrize("letter", ["x", "é", "\N{GRINNING FACE}"])
def test_bytes_are_counted_not_characters(letter: str) -> None:
    overhead = len('{"a":""}')
    size = len(letter.encode())
    fitting = {"a": letter * ((4096 - overhead) // size)}
    accepted(values.struct(fitting))
    assert (
        "max_parameters_bytes of 4096"
        in refused(values.struct({"a": fitting["a"] + letter * 4})).message
    )


def test_a_long_name_is_not_repeated_in_full() -> None:
    struct = struct_pb2.Struct()
    inner = struct.fields["k" * 30_000].list_value
    inner.values.add(number_value=math.nan)
    rejection = refused(struct)
    assert rejection.violations[0].field == "parameters." + "k" * 64 + "[0]"
    assert len(rejection.message) < 200


@hypothesis.given(st.binary(min_size=1, max_size=12))
def test_text_that_json_must_escape_stays_what_it_is(raw: bytes) -> None:
    text = raw.decode("latin-1") + '"\\\u2028'
    found = accepted(values.struct({text: text}))
    assert json.loads(found.canonical) == {text: text}


def test_what_is_far_too_long_is_refused_before_it_is_parsed() -> None:
    reader = parameters.ParameterReader(values.LIMITS)
    no_struct = b"\xff" * (8 * values.LIMITS.max_parameters_bytes + 1)
    refused = reader.read(no_struct)
    assert isinstance(refused, Rejection)
    assert f"over max_parameters_bytes of {values.LIMITS.max_parameters_bytes}" in refused.message
