"""What configs say they come after, read: which rows wait for which, and what is refused."""

import pytest
from google.protobuf import unknown_fields

from dshpc.v1 import types_pb2
from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.domain import dependencies as rules
from dshpc_server.domain.dependencies import Condition
from dshpc_server.transport import dependencies

JOB_ID = "ab" * 32


def config(
    config_id: str, *depends_on: types_pb2.Dependency, **outputs: str
) -> types_pb2.JobConfig:
    """A config that comes after others, and takes the outputs of some by input name."""
    made = types_pb2.JobConfig(config_id=config_id, depends_on=depends_on)
    for name, upstream in outputs.items():
        made.inputs[name].job_output.config_id = upstream
    return made


def after(config_id: str, *, per_sweep_index: bool = False) -> types_pb2.Dependency:
    return types_pb2.Dependency(config_id=config_id, per_sweep_index=per_sweep_index)


def ones(count: int) -> list[range]:
    """The rows of configs without a sweep."""
    return [range(index, index + 1) for index in range(count)]


def refused(configs: list[types_pb2.JobConfig], rows: list[range] | None = None) -> list[str]:
    """The fields that a request is refused for."""
    with pytest.raises(errors.InvalidRequestError) as caught:
        dependencies.Dependencies(configs, rows or ones(len(configs)))
    return [violation.field for violation in caught.value.violations]


def test_a_config_that_says_nothing_waits_for_nothing() -> None:
    read = dependencies.Dependencies([config("a"), config("")], ones(2))
    assert [list(read.of(index, 0)) for index in range(2)] == [[], []]


def test_a_dependency_and_an_output_are_both_waited_for() -> None:
    configs = [config("c", after("a"), left="b"), config("a"), config("b")]
    read = dependencies.Dependencies(configs, ones(3))
    assert list(read.of(0, 0)) == [
        request.Upstream(
            rows=range(1, 2),
            condition=Condition.SUCCEEDED,
            name="config 'a'",
            field="jobs[0].depends_on[0]",
        ),
        request.Upstream(
            rows=range(2, 3),
            condition=Condition.SUCCEEDED,
            input_name="left",
            name="config 'b'",
            field="jobs[0].inputs.left.job_output",
        ),
    ]


@pytest.mark.parametrize("condition", Condition)
def test_a_condition_is_read(condition: Condition) -> None:
    asked = types_pb2.Dependency(
        job_id=JOB_ID, condition=types_pb2.Condition.Value(f"CONDITION_{condition}")
    )
    (upstream,) = dependencies.Dependencies([config("a", asked)], ones(1)).of(0, 0)
    assert (upstream.job_id, upstream.condition) == (JOB_ID, condition)
    assert len(upstream.rows) == 0
    assert upstream.name == f"job '{JOB_ID}'"


def test_all_rows_of_a_sweep_are_waited_for_or_the_one_of_the_same_place() -> None:
    configs = [
        config("sweep"),
        config("all", after("sweep")),
        config("twin", after("sweep", per_sweep_index=True)),
    ]
    read = dependencies.Dependencies(configs, [range(3), range(3, 4), range(4, 7)])
    assert [each.rows for each in read.of(1, 0)] == [range(3)]
    assert [(each.rows, each.name) for each in read.of(2, 2)] == [
        (range(2, 3), "config 'sweep'[2]")
    ]


def test_sweeps_of_different_lengths_do_not_go_row_by_row() -> None:
    configs = [config("sweep"), config("twin", after("sweep", per_sweep_index=True))]
    assert refused(configs, [range(3), range(3, 5)]) == ["jobs[1].depends_on[0]"]


def test_every_reference_to_nobody_is_told() -> None:
    configs = [config("a", after("x"), after("a2")), config("a2", input="y")]
    assert refused(configs) == ["jobs[0].depends_on[0]", "jobs[1].inputs.input.job_output"]


def test_a_cycle_by_way_of_an_output_is_one() -> None:
    assert refused([config("a", after("b")), config("b", input="a")]) == ["jobs[0].depends_on[0]"]


def test_a_field_of_a_later_version_is_refused() -> None:
    asked = types_pb2.Dependency.FromString(after("b").SerializeToString() + b"\xa0\x06\x01")
    assert len(unknown_fields.UnknownFieldSet(asked)) == 1
    assert refused([config("a", asked), config("b")]) == ["jobs[0].depends_on[0]"]


def test_too_many_links_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_LINKS", 100)
    configs = [config("sweep"), config("all", after("sweep"))]
    dependencies.Dependencies(configs, [range(10), range(10, 20)])
    with pytest.raises(errors.LimitExceededError) as caught:
        dependencies.Dependencies(configs, [range(10), range(10, 21)])
    assert (caught.value.limit, caught.value.maximum, caught.value.actual) == (
        "max_dependencies_per_request",
        100,
        110,
    )
