"""Reading requests: what is wrong with one row rejects that row, what is wrong with all refuses."""

import pytest
from google.protobuf import message

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.domain import lookup
from dshpc_server.domain.rejection import Reason
from dshpc_server.transport import requests
from support import transport_values as values

A, B = "a" * 64, "b" * 64
MIB = 1024 * 1024
UNKNOWN_FIELD = b"\xfa\x07\x02hi"  # field 127, text
READER = requests.RequestReader(values.LIMITS)


def config(**fields: object) -> types_pb2.JobConfig:
    given: dict[str, object] = {"method_name": "count", "file_hash": A} | fields
    return types_pb2.JobConfig(**given)  # type: ignore[arg-type]  # by name


def batch(*configs: types_pb2.JobConfig, **options: str) -> request.BatchRequest:
    return READER.batch(
        job_service_pb2.SimulateJobsRequest(
            jobs=configs,
            options=types_pb2.BatchOptions(**options),  # type: ignore[arg-type]  # by name
        )
    )


def row(**fields: object) -> request.JobRequest:
    (read,) = batch(config(**fields)).rows
    assert isinstance(read, request.JobRequest), read
    return read


def refused(wrong: types_pb2.JobConfig) -> request.RefusedRow:
    """This config's row, between two good ones that it leaves alone."""
    before, read, after = batch(config(), wrong, config(file_hash=B)).rows
    assert isinstance(before, request.JobRequest)
    assert isinstance(after, request.JobRequest)
    assert isinstance(read, request.RefusedRow), read
    return read


def echo(read: request.JobRequest | request.RefusedRow) -> types_pb2.MultiJobResult:
    return types_pb2.MultiJobResult.FromString(read.head)


def with_unknown_field(of: message.Message) -> message.Message:
    made = type(of)()
    made.MergeFromString(of.SerializeToString() + UNKNOWN_FIELD)
    return made


def test_a_row_is_read_with_everything_it_asks_for() -> None:
    asked = config(
        config_id="mine",
        resources=types_pb2.Resources(cpus=2, memory_bytes=3, gpus=1),
        parameters=values.struct({"bins": 10}),
    )
    asked.timeout.FromMilliseconds(1500)
    (read,) = batch(asked, display_name="a batch").rows
    assert isinstance(read, request.JobRequest)
    assert (read.index, read.method_name, read.timeout_seconds) == (0, "count", 1.5)
    assert read.inputs == {"input": A}
    assert read.resources == request.RequestedResources(cpus=2, memory_bytes=3, gpus=1)
    assert read.parameters == request.Parameters(value={"bins": 10}, canonical='{"bins":10}')
    assert echo(read) == types_pb2.MultiJobResult(
        config_id="mine", file_hash=A, method_name="count", parameters=values.struct({"bins": 10})
    )


def test_what_is_not_said_is_left_to_method_and_server() -> None:
    read = row()
    assert read.resources == request.RequestedResources()
    assert read.timeout_seconds is None
    assert read.parameters.canonical == "{}"
    assert not echo(read).HasField("parameters")


def test_an_empty_object_is_echoed_as_sent() -> None:
    read = row(parameters=values.struct({}))
    assert read.parameters.canonical == "{}"
    assert echo(read).HasField("parameters")


def test_rows_keep_their_places_and_the_batch_its_name() -> None:
    read = batch(config(), config(method_name=""), config(file_hash=B), display_name="three")
    assert [each.index for each in read.rows] == [0, 1, 2]
    assert [echo(each).index for each in read.rows] == [0, 1, 2]
    assert read.display_name == "three"


def test_named_inputs_are_read_and_the_one_called_input_is_echoed() -> None:
    asked = types_pb2.JobConfig(method_name="count")
    asked.inputs["left"].file_hash = B
    asked.inputs["input"].file_hash = A
    (read,) = batch(asked).rows
    assert isinstance(read, request.JobRequest)
    assert read.inputs == {"input": A, "left": B}
    assert list(read.inputs) == ["input", "left"]
    assert echo(read).file_hash == A


def test_a_method_without_inputs_needs_no_file() -> None:
    assert row(file_hash="").inputs == {}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"method_name": ""}, "method_name"),
        ({"method_name": "é" * 129}, "method_name"),
        ({"file_hash": "A" * 64}, "file_hash"),
        ({"file_hash": "a" * 63}, "file_hash"),
        ({"file_hash": "x" * 100_000}, "file_hash"),
        ({"resources": types_pb2.Resources(cpus=-1)}, "resources.cpus"),
        ({"resources": types_pb2.Resources(memory_bytes=-1)}, "resources.memory_bytes"),
        ({"resources": types_pb2.Resources(gpus=-1)}, "resources.gpus"),
        ({"priority": -101}, "priority"),
        ({"priority": 101}, "priority"),
        ({"inputs": {"x": types_pb2.InputRef(file_hash=B)}}, "inputs"),
        (
            {"file_hash": "", "inputs": {"x": types_pb2.InputRef(file_hash="b")}},
            "inputs.x.file_hash",
        ),
        ({"file_hash": "", "inputs": {"x": types_pb2.InputRef()}}, "inputs.x"),
    ],
)
def test_a_config_that_cannot_be_understood_is_refused_alone(
    fields: dict[str, object], field: str
) -> None:
    read = refused(config(**fields))
    assert read.index == 1
    assert read.rejection.reason is Reason.INVALID_CONFIG
    assert [violation.field for violation in read.rejection.violations] == [field]
    assert len(read.rejection.message) < 300
    assert echo(read).method_name == fields.get("method_name", "count")


@pytest.mark.parametrize("seconds", [0, -1, 3600.001, 1e12])
def test_a_timeout_is_positive_and_within_the_limit(seconds: float) -> None:
    asked = config()
    asked.timeout.seconds = int(seconds)
    asked.timeout.nanos = int((seconds - int(seconds)) * 1e9)
    assert refused(asked).rejection.violations[0].field == "timeout"


def test_the_longest_timeout_is_allowed() -> None:
    asked = config()
    asked.timeout.seconds = 3600
    (read,) = batch(asked).rows
    assert isinstance(read, request.JobRequest)
    assert read.timeout_seconds == 3600.0


def test_bad_parameters_refuse_the_row_and_are_echoed() -> None:
    read = refused(config(parameters=values.nested(7)))
    assert read.rejection.reason is Reason.INVALID_PARAMETERS
    assert echo(read).parameters == values.nested(7)


@pytest.mark.parametrize(
    ("length", "is_echoed"), [(2 * MIB - 64, True), (2 * MIB, False), (7 * MIB, False)]
)
def test_parameters_that_no_message_would_hold_are_not_echoed(
    length: int, *, is_echoed: bool
) -> None:
    reader = requests.RequestReader(values.within(max_parameters_bytes=MIB))
    asked = config(parameters=values.struct({"a": "x" * length}))
    (read,) = reader.batch(job_service_pb2.SimulateJobsRequest(jobs=[asked])).rows
    assert isinstance(read, request.RefusedRow)
    assert echo(read).HasField("parameters") == is_echoed


def test_a_row_with_a_field_of_a_newer_contract_is_refused_alone() -> None:
    newer = with_unknown_field(config())
    assert isinstance(newer, types_pb2.JobConfig)
    assert "has no field 127" in refused(newer).rejection.message
    resources = with_unknown_field(types_pb2.Resources(cpus=1))
    assert (
        "resources: Resources has no field 127"
        in refused(config(resources=resources)).rejection.message
    )


@pytest.mark.parametrize("part", ["options", "wait"])
def test_a_request_with_a_field_of_a_newer_contract_is_refused(part: str) -> None:
    asked = job_service_pb2.SimulateJobsRequest(jobs=[config()])
    getattr(asked, part).MergeFromString(UNKNOWN_FIELD)
    with pytest.raises(errors.InvalidRequestError, match=r"has no field 127") as caught:
        READER.batch(asked)
    assert caught.value.violations[0].field == part


def test_a_request_needs_a_job_and_has_at_most_so_many() -> None:
    with pytest.raises(errors.InvalidRequestError, match="jobs"):
        batch()
    assert len(batch(*[config()] * 8).rows) == 8
    with pytest.raises(errors.LimitExceededError) as caught:
        batch(*[config()] * 9)
    assert (caught.value.limit, caught.value.maximum) == ("max_jobs_per_request", 8)
    assert caught.value.actual == 9


def test_a_config_id_is_unique_when_it_is_given() -> None:
    assert len(batch(config(), config(), config(config_id="x")).rows) == 3
    with pytest.raises(errors.InvalidRequestError) as caught:
        batch(config(config_id="x"), config(config_id="y"), *[config(config_id="x")] * 2)
    assert [violation.field for violation in caught.value.violations] == [
        "jobs[2].config_id",
        "jobs[3].config_id",
    ]


def test_names_are_limited_by_bytes() -> None:
    batch(config(config_id="é" * 128), display_name="é" * 128)
    with pytest.raises(errors.InvalidRequestError, match=r"jobs\[1\]\.config_id"):
        batch(config(), config(config_id="é" * 129))
    with pytest.raises(errors.InvalidRequestError, match=r"options\.display_name"):
        batch(config(), display_name="é" * 129)


def test_the_echo_of_what_is_far_too_long_is_cut() -> None:
    long = "x" * 100_000
    for wrong in (config(method_name=long), config(file_hash=long)):
        assert len(refused(wrong).head) < 1000
    huge = config(parameters=values.struct({"a": long}))
    assert len(refused(huge).head) < 1000
    assert not types_pb2.MultiJobResult.FromString(refused(huge).head).HasField("parameters")
    ones = values.struct({"a": [1] * 150})
    assert echo(row(parameters=ones)).parameters == ones


def test_a_rows_own_cache_policy_counts_before_the_batchs() -> None:
    rows = READER.batch(
        job_service_pb2.SimulateJobsRequest(
            jobs=[
                config(),
                config(cache_policy=types_pb2.CACHE_POLICY_REFRESH),
                config(cache_policy=types_pb2.CACHE_POLICY_USE),
            ],
            options=types_pb2.BatchOptions(
                cache_policy=types_pb2.CACHE_POLICY_ONLY,
                resubmit_policy=types_pb2.RESUBMIT_POLICY_NEVER,
            ),
        )
    ).rows
    policies = [row.policy for row in rows if isinstance(row, request.JobRequest)]
    assert [policy.cache for policy in policies] == [
        lookup.CachePolicy.ONLY,
        lookup.CachePolicy.REFRESH,
        lookup.CachePolicy.USE,
    ]
    assert {policy.resubmit for policy in policies} == {lookup.ResubmitPolicy.NEVER}
    assert {policy.max_attempts for policy in policies} == {values.LIMITS.max_attempts}


def test_a_rows_own_priority_counts_before_the_batchs_and_none_is_none() -> None:
    asked = READER.batch(
        job_service_pb2.SimulateJobsRequest(
            jobs=[config(), config(priority=0), config(priority=-100), config(priority=100)],
            options=types_pb2.BatchOptions(priority=7),
        )
    )
    rows = [row for row in asked.rows if isinstance(row, request.JobRequest)]
    assert [row.priority for row in rows] == [None, 0, -100, 100]
    assert asked.priority == 7
    assert READER.batch(job_service_pb2.SimulateJobsRequest(jobs=[config()])).priority == 0


@pytest.mark.parametrize("asked", [-101, 101, 2**31 - 1])
def test_a_priority_of_a_batch_out_of_bounds_refuses_the_whole(asked: int) -> None:
    wanted = job_service_pb2.SimulateJobsRequest(
        jobs=[config()], options=types_pb2.BatchOptions(priority=asked)
    )
    said = f"options.priority: {asked} is not between -100 and 100"
    with pytest.raises(errors.InvalidRequestError, match=said):
        READER.batch(wanted)


def test_a_cache_policy_of_a_newer_contract_refuses_the_row_alone() -> None:
    read = refused(config(cache_policy=99))
    assert "cache_policy: 99 is not a value of CachePolicy" in read.rejection.message


def test_a_version_is_pinned_by_its_hash() -> None:
    assert row(function_hash=B).function_hash == B
    assert row().function_hash == ""
    read = refused(config(function_hash="v1"))
    assert "function_hash: 'v1' is not a SHA-256" in read.rejection.message
    assert echo(read).function_hash == "v1"


def test_a_batch_that_is_only_to_be_validated_says_so() -> None:
    asked = job_service_pb2.SimulateJobsRequest(
        jobs=[config()], options=types_pb2.BatchOptions(validate_only=True)
    )
    assert READER.batch(asked).validate_only
    assert not batch(config()).validate_only


def test_of_what_comes_after_others_that_is_read_also_if_it_is_refused() -> None:
    waits, wrong = config(config_id="waits"), config(config_id="wrong", function_hash="v1")
    for each in (waits, wrong):
        each.depends_on.add(config_id="first", condition=types_pb2.CONDITION_FAILED)
    first, *others = batch(config(config_id="first"), waits, wrong).rows
    assert isinstance(others[0], request.JobRequest)
    assert isinstance(others[1], request.RefusedRow)
    assert not first.upstreams
    assert [[each.rows for each in row.upstreams] for row in others] == [[range(1)], [range(1)]]
    assert [row.config() for row in others] == [
        waits.SerializeToString(),
        wrong.SerializeToString(),
    ]
