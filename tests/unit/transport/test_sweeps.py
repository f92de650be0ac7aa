"""Sweeps in requests: which rows they become, and what is refused before any is made."""

import collections
import dataclasses
import itertools
import math

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.domain import identity
from dshpc_server.transport import requests, sweeps
from support import transport_values as values

A, B = "a" * 64, "b" * 64
READER = requests.RequestReader(values.within(max_jobs_per_request=100_000))
UNKNOWN_FIELD = b"\xfa\x07\x02hi"  # field 127, text
ZIP = types_pb2.SWEEP_MODE_ZIP


def axis(parameter: str, *given: identity.Json) -> types_pb2.SweepAxis:
    return types_pb2.SweepAxis(
        parameter=parameter,
        values=[values.struct({"value": each}).fields["value"] for each in given],
    )


def ranged(parameter: str, start: float, stop: float, count: int) -> types_pb2.SweepAxis:
    return types_pb2.SweepAxis(
        parameter=parameter, range=types_pb2.SweepRange(start=start, stop=stop, count=count)
    )


def config(*axes: types_pb2.SweepAxis, **fields: object) -> types_pb2.JobConfig:
    given: dict[str, object] = {"method_name": "count", "file_hash": A} | fields
    made = types_pb2.JobConfig(**given)  # type: ignore[arg-type]  # by name
    if axes:
        made.sweep.axes.extend(axes)
    return made


def rows(*configs: types_pb2.JobConfig) -> list[request.JobRequest | request.RefusedRow]:
    return list(READER.batch(job_service_pb2.SimulateJobsRequest(jobs=configs)).rows)


def read(*configs: types_pb2.JobConfig) -> list[request.JobRequest]:
    """The rows, none of which is refused."""
    made = rows(*configs)
    assert [row for row in made if isinstance(row, request.RefusedRow)] == []
    return [row for row in made if isinstance(row, request.JobRequest)]


def echoes(*configs: types_pb2.JobConfig) -> list[types_pb2.MultiJobResult]:
    return [types_pb2.MultiJobResult.FromString(row.head) for row in rows(*configs)]


def refusal(*configs: types_pb2.JobConfig) -> str:
    """The field for which a request is refused."""
    with pytest.raises(errors.InvalidRequestError) as caught:
        rows(*configs)
    (violation,) = caught.value.violations
    assert violation.description
    return violation.field


def test_a_row_says_where_it_stands_in_batch_request_and_sweep() -> None:
    told = echoes(
        config(config_id="before"),
        config(axis("bins", 1, 2), axis("column", "x", "y"), config_id="mine"),
        config(),
        config(axis("bins", 3)),
    )
    assert [row.index for row in told] == list(range(7))
    assert [row.config_index for row in told] == [0, 1, 1, 1, 1, 2, 3]
    assert [row.config_id for row in told] == ["before", *["mine"] * 4, "", ""]
    assert [row.HasField("sweep_index") for row in told] == [False, *[True] * 4, False, True]
    assert [row.sweep_index for row in told] == [0, 0, 1, 2, 3, 0, 0]


def test_a_row_has_and_echoes_the_values_of_its_point_beside_what_all_have() -> None:
    parameters = values.struct({"column": "age", "bins": 99})
    depths: list[identity.Json] = [[1], None]
    of = config(ranged("bins", 10, 30, 3), axis("depth", *depths), parameters=parameters)
    expected: list[dict[str, identity.Json]] = [
        {"column": "age", "bins": bins, "depth": depth} for bins in (10, 20, 30) for depth in depths
    ]
    assert [row.parameters.value for row in read(of)] == expected
    assert [json_format.MessageToDict(echo.parameters) for echo in echoes(of)] == expected


def test_integral_numbers_of_a_range_are_integers_as_those_that_are_listed_are() -> None:
    listed, made = read(config(axis("n", 1, 2)), config(ranged("n", 1, 2, 2)))[::2]
    assert made.parameters.canonical == listed.parameters.canonical == '{"n":1}'


def test_the_input_file_can_vary() -> None:
    made = read(config(axis("file_hash", A, B), ranged("n", 1, 2, 2), file_hash=""))
    assert [row.inputs for row in made] == [{"input": each} for each in (A, A, B, B)]
    told = echoes(config(axis("file_hash", A, B)))
    assert [echo.file_hash for echo in told] == [A, B]
    assert [echo.HasField("parameters") for echo in told] == [False, False]


def test_zipped_axes_go_together() -> None:
    of = config(axis("file_hash", A, B), ranged("n", 1, 2, 2))
    of.sweep.mode = ZIP
    assert [(row.inputs["input"], row.parameters.canonical) for row in read(of)] == [
        (A, '{"n":1}'),
        (B, '{"n":2}'),
    ]


def comparable(row: request.JobRequest | request.RefusedRow) -> tuple[object, object]:
    """A row, and what it encodes as: two functions are never equal."""
    return dataclasses.replace(row, config=bytes), row.config()


def kept(row: request.JobRequest | request.RefusedRow) -> types_pb2.JobConfig:
    """The config that is kept of a row which gets no job."""
    return types_pb2.JobConfig.FromString(row.config())


@given(
    st.lists(
        st.dictionaries(
            st.text("abc", min_size=1, max_size=2),
            st.lists(values.json_values, min_size=1, max_size=3),
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 7),
)
def test_rows_are_those_that_would_have_been_sent_one_by_one(
    asked: list[dict[str, list[identity.Json]]], size: int
) -> None:
    fixed: dict[str, identity.Json] = {"a": "fixed", "z": 1}
    swept = [
        config(*(axis(name, *each) for name, each in axes.items()), parameters=values.struct(fixed))
        for axes in asked
    ]
    alone = [
        config(parameters=values.struct(fixed | dict(zip(axes, point, strict=True))))
        for axes in asked
        for point in itertools.product(*axes.values())
    ]
    made, expected = rows(*swept), rows(*alone)
    # Numbers beyond those that a request may name are refused in both.
    assert [getattr(row, "parameters", None) for row in made] == [
        getattr(row, "parameters", None) for row in expected
    ]
    batch = READER.batch(job_service_pb2.SimulateJobsRequest(jobs=swept))
    pieces = [batch.rows[first : first + size] for first in range(0, len(batch.rows), size)]
    told = list(itertools.chain(*pieces))
    assert list(map(comparable, told)) == list(map(comparable, made))
    assert list(map(kept, made)) == alone
    told = [batch.rows[number] for number in range(len(made))]
    assert list(map(comparable, told)) == list(map(comparable, made))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (config(sweep=types_pb2.Sweep()), "jobs[1].sweep.axes"),
        (config(*(axis(f"x{n}", 1) for n in range(1001))), "jobs[1].sweep.axes"),
        (config(axis("n", 1), axis("")), "jobs[1].sweep.axes[1].parameter"),
        (config(axis("n", 1), axis("n", 2)), "jobs[1].sweep.axes[1].parameter"),
        (config(axis("n")), "jobs[1].sweep.axes[0].values"),
        (config(ranged("n", 0, 1, 0)), "jobs[1].sweep.axes[0].range.count"),
        (config(ranged("n", math.inf, 1, 2)), "jobs[1].sweep.axes[0].range.start"),
        (config(axis("file_hash", A, "beef")), "jobs[1].sweep.axes[0].values[1]"),
        (config(axis("file_hash", 1)), "jobs[1].sweep.axes[0].values[0]"),
        (config(ranged("file_hash", 1, 2, 2)), "jobs[1].sweep.axes[0].range"),
        (
            config(
                axis("file_hash", A),
                file_hash="",
                inputs={"input": types_pb2.InputRef(file_hash=B)},
            ),
            "jobs[1].sweep.axes[0].parameter",
        ),
        (
            config(types_pb2.SweepAxis(parameter="n", values=[struct_pb2.Value()])),
            "jobs[1].sweep.axes[0].values[0]",
        ),
        (
            config(
                types_pb2.SweepAxis(parameter="n", values=[struct_pb2.Value(number_value=math.nan)])
            ),
            "jobs[1].sweep.axes[0].values[0]",
        ),
        (
            config(
                types_pb2.SweepAxis(
                    parameter="n",
                    values=[struct_pb2.Value(number_value=1)],
                    range=types_pb2.SweepRange(count=1),
                )
            ),
            "jobs[1].sweep.axes[0].range",
        ),
        (
            config(sweep=types_pb2.Sweep(axes=[axis("n", 1)], mode=7)),  # type: ignore[arg-type]
            "jobs[1].sweep.mode",
        ),
        (
            config(sweep=types_pb2.Sweep(axes=[axis("n", 1), axis("m", 1, 2)], mode=ZIP)),
            "jobs[1].sweep.axes[1]",
        ),
        (
            config(sweep=types_pb2.Sweep.FromString(UNKNOWN_FIELD)),
            "jobs[1].sweep",
        ),
        (
            config(types_pb2.SweepAxis.FromString(UNKNOWN_FIELD)),
            "jobs[1].sweep.axes[0]",
        ),
        (
            config(
                types_pb2.SweepAxis(
                    parameter="n", range=types_pb2.SweepRange.FromString(UNKNOWN_FIELD)
                )
            ),
            "jobs[1].sweep.axes[0].range",
        ),
    ],
)
def test_what_is_no_sweep_refuses_the_request_with_its_field(
    wrong: types_pb2.JobConfig, field: str
) -> None:
    assert refusal(config(), wrong) == field


@pytest.mark.parametrize(
    "configs",
    [
        [config(), config(ranged("n", 1, 2, 100_000))],
        [config(ranged("n", 1, 2, 317), ranged("m", 1, 2, 317))],
        [config(*(ranged(f"x{n}", 1, 2, 2**31 - 1) for n in range(1000)))],
        [config(ranged("n", 1, 2, 1000)), *[config(ranged("n", 1, 2, 1000))] * 100],
    ],
)
def test_too_many_rows_are_refused_before_any_is_made(
    configs: list[types_pb2.JobConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = collections.Counter[str]()
    monkeypatch.setattr(sweeps.Rows, "between", lambda *_: made.update(["row"]))
    with pytest.raises(errors.LimitExceededError) as caught:
        rows(*configs)
    assert (caught.value.limit, caught.value.maximum) == ("max_jobs_per_request", 100_000)
    assert caught.value.actual > 100_000
    assert "max_jobs_per_request" in str(caught.value)
    assert not made


def test_as_many_rows_as_the_limit_allows_are_counted_and_none_is_made_in_vain() -> None:
    asked = job_service_pb2.SimulateJobsRequest(
        jobs=[config(ranged("n", 1, 2, 100), ranged("m", 1, 2, 1000))]
    )
    assert asked.ByteSize() < 4096
    batch = READER.batch(asked)
    assert len(batch.rows) == 100_000
    (last,) = batch.rows[99_999:]
    assert isinstance(last, request.JobRequest)
    assert last.parameters.value == {"n": 2, "m": 2}
