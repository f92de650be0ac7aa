"""From request messages to the batch use cases' values.

What is wrong with the request as a whole raises InvalidRequestError and nothing is accepted; what
is wrong with one row rejects that row alone.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

from google.protobuf import message

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.batches import request, simulation
from dshpc_server.domain import identity, lookup
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.transport import (
    dependencies,
    known,
    limits,
    moments,
    options,
    parameters,
    request_names,
    sweeps,
    wire,
)

_MAX_ECHO_CHARACTERS = 256
"""Of names and hashes that are refused for their length; the others are shorter."""
_PARAMETERS_FIELD = types_pb2.MultiJobResult.PARAMETERS_FIELD_NUMBER
DEADLINE_MARGIN_SECONDS = 0.5
"""A unary wait ends this long before the caller's deadline, so that the answer arrives."""


class _RefusedError(Exception):
    """One row cannot be understood."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.violation = Violation(field=field, description=description)


class RequestReader:
    """Reads SimulateJobs requests within limits."""

    def __init__(self, limits: limits.Limits) -> None:
        self._limits = limits
        self._parameters = parameters.ParameterReader(limits)
        # The echo of what is longer, and is refused, would be as large as the request.
        self._max_echo_bytes = parameters.ENCODED_PER_CANONICAL_BYTE * limits.max_parameters_bytes

    def batch(
        self,
        asked: job_service_pb2.SimulateJobsRequest | job_service_pb2.StreamSimulateJobsRequest,
    ) -> request.BatchRequest:
        """Read the rows. Meant for a worker thread: it takes a while for many rows."""
        known.refuse_unknown("options", asked.options)
        known.refuse_unknown("wait", asked.wait)
        if not asked.jobs:
            raise _invalid("jobs", "at least one job is needed")
        rows = sweeps.Rows(asked.jobs, self._limits.max_jobs_per_request)
        _check_length(
            "options.display_name", asked.options.display_name, limits.MAX_DISPLAY_NAME_BYTES
        )
        _check_config_ids(asked.jobs)
        name = request_names.of_batch(asked)
        policies = _Policies(options.policy(asked.options, max_attempts=self._limits.max_attempts))
        waits = dependencies.Dependencies(asked.jobs, rows.of_configs)
        return request.BatchRequest(
            rows=request.MadeRows(
                rows.total,
                lambda first, last: [
                    self._row(row, policies, waits.of(row.config_index, row.sweep_index or 0))
                    for row in rows.between(first, last)
                ],
            ),
            display_name=asked.options.display_name,
            priority=options.priority("options.priority", asked.options.priority),
            upstream_jobs=waits.jobs,
            validate_only=asked.options.validate_only,
            name=name,
            max_failures=options.max_failures(asked.options),
            cancel_on_disconnect=asked.options.cancel_on_disconnect,
        )

    def unary_wait(
        self, asked: job_service_pb2.SimulateJobsRequest, seconds_left: float | None
    ) -> simulation.Wait:
        """Read how long a unary call waits: default until RESOLVED, never beyond its deadline."""
        bounds = [self._limits.max_wait_seconds, *_wait_timeout(asked.wait)]
        if seconds_left is not None:
            bounds.append(max(0.0, seconds_left - DEADLINE_MARGIN_SECONDS))
        until = _until(asked.wait) or types_pb2.UNTIL_RESOLVED
        return simulation.Wait(
            until_finished=until == types_pb2.UNTIL_FINISHED, timeout_seconds=min(bounds)
        )

    def stream_wait(self, asked: job_service_pb2.StreamSimulateJobsRequest) -> simulation.Wait:
        """Read how long a stream waits: default until FINISHED, as long as it takes."""
        until = _until(asked.wait) or types_pb2.UNTIL_FINISHED
        return simulation.Wait(
            until_finished=until == types_pb2.UNTIL_FINISHED,
            timeout_seconds=next(iter(_wait_timeout(asked.wait)), None),
        )

    def row(
        self, row: sweeps.Row, policy: lookup.Policy, upstreams: Sequence[request.Upstream]
    ) -> request.JobRequest | request.RefusedRow:
        """Read one row of a batch with this policy, which comes after these."""
        return self._row(row, _Policies(policy), upstreams)

    def _row(
        self,
        row: sweeps.Row,
        policies: "_Policies",
        upstreams: Sequence[request.Upstream],
    ) -> request.JobRequest | request.RefusedRow:
        config, encoded, file_hash = row.config, row.parameters, row.file_hash
        refused: Rejection | None = None
        inputs: dict[str, str] = {}
        try:
            _check_known(config, "config")
            inputs = _inputs(config, file_hash)
            file_hash = inputs.get("input", file_hash)
            timeout_seconds = self._timeout(config)
            resources = _resources(config)
            _check_method_name(config.method_name)
            _check_function_hash(config.function_hash)
            policy = policies.of(config)
            priority = _priority(config)
        except _RefusedError as error:
            refused = Rejection(
                reason=Reason.INVALID_CONFIG,
                message=f"Invalid config ({error})",
                violations=(error.violation,),
            )
        head = types_pb2.MultiJobResult(
            index=row.index,
            config_index=row.config_index,
            sweep_index=row.sweep_index,
            config_id=config.config_id,
            file_hash=file_hash[:_MAX_ECHO_CHARACTERS],
            method_name=config.method_name[:_MAX_ECHO_CHARACTERS],
            function_hash=config.function_hash[:_MAX_ECHO_CHARACTERS],
        ).SerializeToString()
        if encoded is not None and len(encoded) <= self._max_echo_bytes:
            head += wire.field(_PARAMETERS_FIELD, encoded)
        if refused is not None:
            return request.RefusedRow(
                index=row.index,
                config_index=row.config_index,
                head=head,
                rejection=refused,
                upstreams=upstreams,
                config=row.written_out,
            )
        read = self._parameters.read(encoded or b"")
        if isinstance(read, Rejection):
            return request.RefusedRow(
                index=row.index,
                config_index=row.config_index,
                head=head,
                rejection=read,
                upstreams=upstreams,
                config=row.written_out,
            )
        return request.JobRequest(
            index=row.index,
            config_index=row.config_index,
            head=head,
            method_name=config.method_name,
            function_hash=config.function_hash,
            inputs=inputs,
            parameters=read,
            resources=resources,
            timeout_seconds=timeout_seconds,
            policy=policy,
            priority=priority,
            upstreams=upstreams,
            config=row.written_out,
        )

    def _timeout(self, config: types_pb2.JobConfig) -> float | None:
        if not config.HasField("timeout"):
            return None
        seconds = moments.seconds(config.timeout)
        if seconds <= 0:
            raise _RefusedError("timeout", "must be positive")
        if seconds > self._limits.max_timeout_seconds:
            raise _RefusedError(
                "timeout",
                f"{seconds:.12g} s, over max_timeout_seconds of"
                f" {self._limits.max_timeout_seconds:.12g}",
            )
        return seconds


class _Policies:
    """The policies of a batch's rows: few kinds, each made once."""

    def __init__(self, of_batch: lookup.Policy) -> None:
        self._by_value = {types_pb2.CACHE_POLICY_UNSPECIFIED: of_batch}

    def of(self, config: types_pb2.JobConfig) -> lookup.Policy:
        """Return a row's policy: its own word, else the batch's."""
        value = config.cache_policy
        if value not in self._by_value:
            of_batch = self._by_value[types_pb2.CACHE_POLICY_UNSPECIFIED]
            with _refusing_the_row():
                cache = options.cache_policy("cache_policy", value)
            self._by_value[value] = dataclasses.replace(of_batch, cache=cache or of_batch.cache)
        return self._by_value[value]


@contextlib.contextmanager
def _refusing_the_row() -> Iterator[None]:
    """Let what is out of bounds be the row's fault alone."""
    try:
        yield
    except errors.InvalidRequestError as error:
        violation = error.violations[0]
        raise _RefusedError(violation.field, violation.description) from error


def _priority(config: types_pb2.JobConfig) -> int | None:
    if not config.HasField("priority"):
        return None
    with _refusing_the_row():
        return options.priority("priority", config.priority)


def _check_known(asked: message.Message, field: str) -> None:
    said = known.unknown_field(asked)
    if said:
        raise _RefusedError(field, said)


def _inputs(config: types_pb2.JobConfig, file_hash: str) -> dict[str, str]:
    if file_hash:
        if config.inputs:
            raise _RefusedError("inputs", "not together with file_hash")
        if not identity.is_hash(file_hash):
            raise _RefusedError("file_hash", _bad_hash(file_hash))
        return {"input": file_hash}
    inputs = {}
    for name in sorted(config.inputs):
        source = config.inputs[name]
        if source.WhichOneof("source") is None:
            raise _RefusedError(f"inputs.{name[:64]}", "has no source")
        if source.HasField("job_output"):  # known when that has completed
            continue
        if not identity.is_hash(source.file_hash):
            raise _RefusedError(f"inputs.{name[:64]}.file_hash", _bad_hash(source.file_hash))
        inputs[name] = source.file_hash
    return inputs


def _bad_hash(text: str) -> str:
    return f"'{text[:80]}' is not a SHA-256 in lower-case hex"


def _resources(config: types_pb2.JobConfig) -> request.RequestedResources:
    if not config.HasField("resources"):
        return _NO_RESOURCES
    asked = config.resources
    _check_known(asked, "resources")
    for name in ("cpus", "memory_bytes", "gpus"):
        if getattr(asked, name) < 0:
            raise _RefusedError(f"resources.{name}", "must not be negative")
    return request.RequestedResources(
        cpus=asked.cpus, memory_bytes=asked.memory_bytes, gpus=asked.gpus
    )


_NO_RESOURCES = request.RequestedResources()


def _check_method_name(name: str) -> None:
    if not name:
        raise _RefusedError("method_name", "is empty")
    if len(name.encode()) > limits.MAX_METHOD_NAME_BYTES:
        raise _RefusedError("method_name", f"is over {limits.MAX_METHOD_NAME_BYTES} bytes")


def _check_function_hash(function_hash: str) -> None:
    if function_hash and not identity.is_hash(function_hash):
        raise _RefusedError("function_hash", _bad_hash(function_hash))


def _check_config_ids(configs: Sequence[types_pb2.JobConfig]) -> None:
    first: dict[str, int] = {}
    violations = []
    for index, config in enumerate(configs):
        config_id = config.config_id
        if not config_id:
            continue
        field = f"jobs[{index}].config_id"
        _check_length(field, config_id, limits.MAX_CONFIG_ID_BYTES)
        earlier = first.setdefault(config_id, index)
        if earlier != index:
            violations.append(
                Violation(field=field, description=f"is that of jobs[{earlier}] already")
            )
    if violations:
        raise errors.InvalidRequestError(*violations)


def _check_length(field: str, text: str, maximum_bytes: int) -> None:
    if len(text.encode()) > maximum_bytes:
        raise _invalid(field, f"is over {maximum_bytes} bytes")


def _until(wait: types_pb2.WaitPolicy) -> types_pb2.Until.ValueType:
    if wait.until not in types_pb2.Until.values():
        raise _invalid("wait.until", f"{wait.until} is not a value of Until")
    return wait.until


def _wait_timeout(wait: types_pb2.WaitPolicy) -> list[float]:
    if not wait.HasField("timeout"):
        return []
    seconds = moments.seconds(wait.timeout)
    if seconds < 0:
        raise _invalid("wait.timeout", "must not be negative")
    return [seconds]


def _invalid(field: str, description: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(Violation(field=field, description=description))
