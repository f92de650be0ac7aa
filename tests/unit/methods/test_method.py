"""Completing and checking parameters."""

import dataclasses

import hypothesis
import jsonschema
import pytest
from hypothesis import strategies

from dshpc_server.domain.identity import Json
from dshpc_server.domain.rejection import Violation
from dshpc_server.methods import errors, method
from support import methods_site

DECLARED = [
    {"name": "bins", "type": "integer", "required": True, "default": 10},
    {"name": "path", "type": "string", "required": True},
    {"name": "scale", "type": "number"},
    {"name": "flags", "type": "array", "default": []},
    {"name": "extra", "type": "object"},
    {"name": "loud", "type": "boolean", "default": False},
]
HISTOGRAM = methods_site.version("histogram", parameters=DECLARED)


def violations(**parameters: Json) -> dict[str, str]:
    with pytest.raises(errors.ParameterError) as raised:
        HISTOGRAM.complete(parameters)
    return {each.field: each.description for each in raised.value.violations}


def test_defaults_are_filled_in_also_for_a_required_parameter() -> None:
    assert HISTOGRAM.complete({"path": "a"}) == {
        "path": "a",
        "bins": 10,
        "flags": [],
        "loud": False,
    }


def test_what_is_given_goes_before_the_default() -> None:
    assert HISTOGRAM.complete({"path": "a", "bins": 3})["bins"] == 3


def test_a_default_cannot_be_changed_through_an_answer() -> None:
    first = HISTOGRAM.complete({"path": "a"})
    assert isinstance(first["flags"], list)
    first["flags"].append("changed")
    assert HISTOGRAM.complete({"path": "a"})["flags"] == []


def test_the_argument_is_left_alone() -> None:
    given = {"path": "a"}
    HISTOGRAM.complete(given)
    assert given == {"path": "a"}


def test_a_missing_parameter_is_named() -> None:
    assert violations() == {"parameters.path": "is required"}


def test_every_violation_is_told_at_once() -> None:
    assert violations(bins="many", other=1) == {
        "parameters.bins": "is not of type integer",
        "parameters.path": "is required",
        "parameters.other": "is not a parameter of method 'histogram'",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bins", 3.5),
        ("bins", True),
        ("bins", "3"),
        ("bins", None),
        ("scale", False),
        ("loud", 1),
        ("flags", {}),
        ("extra", []),
        ("path", 3),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: Json) -> None:
    given = {"path": "a"} | {name: value}
    assert violations(**given) == {
        f"parameters.{name}": f"is not of type {_type_of(name)}",
    }


@pytest.mark.parametrize(
    ("name", "value"), [("bins", 3), ("bins", 1e300), ("scale", 3), ("scale", 2.5), ("extra", {})]
)
def test_a_value_of_the_declared_type_is_accepted(name: str, value: Json) -> None:
    assert HISTOGRAM.complete({"path": "a"} | {name: value})[name] == value


def test_a_value_is_never_repeated_in_a_violation() -> None:
    assert "secret" not in str(violations(bins="secret", path="a"))


def test_a_hostile_name_is_shown_short_and_plain() -> None:
    fields = violations(path="a", **{"x" * 10_000: 1, "a\nb\u202e": 2})
    assert set(fields) == {"parameters." + "x" * 64 + "…", "parameters.a\\nb\\u202e"}


def test_of_very_many_violations_the_first_are_told() -> None:
    given: dict[str, Json] = {f"unknown{n:04}": n for n in range(5_000)}
    with pytest.raises(errors.ParameterError) as raised:
        HISTOGRAM.complete({"path": "a", **given})
    told = raised.value.violations
    assert len(told) == method.MAX_VIOLATIONS + 1
    assert told[-1] == Violation(field="parameters", description="has 4980 more violations")


def test_a_method_that_declares_no_parameters_accepts_any() -> None:
    anything = methods_site.version()
    assert anything.accepts_any
    assert anything.complete({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}


def test_the_schema_is_one_of_draft_2020_12_and_accepts_what_is_completed() -> None:
    schema = HISTOGRAM.parameter_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["path"]  # bins has a default
    assert schema["properties"]["bins"] == {"type": "integer", "default": 10}
    jsonschema.validate(HISTOGRAM.complete({"path": "a"}), schema)


def test_a_version_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HISTOGRAM.name = "other"  # type: ignore[misc]  # what is tried here


def test_versions_of_equal_content_are_equal() -> None:
    assert methods_site.version("histogram", parameters=DECLARED) == HISTOGRAM
    assert methods_site.version("histogram") != HISTOGRAM


@hypothesis.given(
    strategies.dictionaries(
        strategies.sampled_from(["bins", "path", "scale", "flags", "extra", "loud", "other"]),
        strategies.none()
        | strategies.booleans()
        | strategies.integers()
        | strategies.floats(allow_nan=False)
        | strategies.sampled_from(["", "3", "true"])
        | strategies.lists(strategies.integers(), max_size=2)
        | strategies.sampled_from([{}, {"a": 1}]),
    )
)
def test_completing_agrees_with_the_schema(given: dict[str, Json]) -> None:
    full = {"bins": 10, "flags": [], "loud": False} | given
    schema = jsonschema.Draft202012Validator(HISTOGRAM.parameter_schema())
    valid = schema.is_valid(full)
    assert valid == schema.is_valid(given)
    try:
        assert HISTOGRAM.complete(given) == full
    except errors.ParameterError:
        assert not valid
    else:
        assert valid


def _type_of(name: str) -> str:
    return next(p.type for p in HISTOGRAM.parameters if p.name == name)
