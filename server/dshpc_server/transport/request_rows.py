"""From the rows of one request to the batch use cases' values.

Promise: what is wrong with a row rejects that row alone. What rows of a config have in common is
read once, so that of a sweep's row little more is left than its own values.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from google.protobuf import message

from dshpc.v1 import types_pb2
from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.domain import identity, lookup
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.transport import known, limits, moments, options, parameters, sweeps, wire

_MAX_ECHO_CHARACTERS = 256
"""Of names and hashes that are refused for their length; the others are shorter."""
_MAX_ECHO_BYTES = 2 * 1024 * 1024
"""Of parameters. Beside an output of 1 MiB they fit a message that every client accepts; what the
default limits allow is smaller."""
_PARAMETERS_FIELD = types_pb2.MultiJobResult.PARAMETERS_FIELD_NUMBER
_NO_RESOURCES = request.RequestedResources()
_USUAL_POLICY = lookup.Policy()


class _RefusedError(Exception):
    """One row cannot be understood."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.violation = Violation(field=field, description=description)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Common:
    """What a config says of all its rows."""

    config: types_pb2.JobConfig
    head: bytes
    """Their echo, without what each of them has for itself."""
    method_name: str
    function_hash: str
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of those that have no file of their own."""
    resources: request.RequestedResources = _NO_RESOURCES
    timeout_seconds: float | None = None
    policy: lookup.Policy = _USUAL_POLICY
    priority: int | None = None
    refused: Rejection | None = None
    """Why none of them can be understood."""


class RowReader:
    """Reads the rows of one request, or of one batch that is retried."""

    def __init__(
        self,
        limits: limits.Limits,
        reader: parameters.ParameterReader,
        policy: lookup.Policy,
    ) -> None:
        """`policy` is that of rows that do not say."""
        self._limits = limits
        self._parameters = parameters.PartsReader(reader)
        self._policies = {types_pb2.CACHE_POLICY_UNSPECIFIED: policy}
        """Few kinds, each made once."""
        # The echo of what is longer, and is refused, would be as large as the request.
        self._max_echo_bytes = min(
            parameters.ENCODED_PER_CANONICAL_BYTE * limits.max_parameters_bytes, _MAX_ECHO_BYTES
        )
        self._common: _Common | None = None
        """Of the row before."""

    def read(
        self, row: sweeps.Row, upstreams: Sequence[request.Upstream] = ()
    ) -> request.JobRequest | request.RefusedRow:
        """Read a row that waits for these."""
        common = self._common
        if common is None or common.config is not row.config:
            common = self._common = self._read_common(row)
        inputs = {"input": row.file_hash} if row.file_hash else common.inputs
        encoded = None if row.parameters is None else b"".join(row.parameters)
        head = self._head(row, common, inputs, encoded)
        read = common.refused or self._parameters.read(row.parameters or (), encoded or b"")
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
            method_name=common.method_name,
            function_hash=common.function_hash,
            inputs=inputs,
            parameters=read,
            resources=common.resources,
            timeout_seconds=common.timeout_seconds,
            policy=common.policy,
            priority=common.priority,
            upstreams=upstreams,
            config=row.written_out,
        )

    def _head(
        self,
        row: sweeps.Row,
        common: _Common,
        inputs: Mapping[str, str],
        encoded: bytes | None,
    ) -> bytes:
        """Return the row's echo."""
        own = types_pb2.MultiJobResult(
            index=row.index,
            sweep_index=row.sweep_index,
            file_hash=inputs.get("input", "")[:_MAX_ECHO_CHARACTERS],
        ).SerializeToString()
        if encoded is None or len(encoded) > self._max_echo_bytes:
            return own + common.head
        return own + common.head + wire.field(_PARAMETERS_FIELD, encoded)

    def _read_common(self, row: sweeps.Row) -> _Common:
        """Read what the rows of this one's config have in common."""
        config = row.config
        common = _Common(
            config=config,
            head=types_pb2.MultiJobResult(
                config_index=row.config_index,
                config_id=config.config_id,
                method_name=config.method_name[:_MAX_ECHO_CHARACTERS],
                function_hash=config.function_hash[:_MAX_ECHO_CHARACTERS],
            ).SerializeToString(),
            method_name=config.method_name,
            function_hash=config.function_hash,
        )
        try:
            _check_known(config, "config")
            common = dataclasses.replace(common, inputs=_inputs(config, row.file_hash))
            _check_method_name(config.method_name)
            _check_function_hash(config.function_hash)
            return dataclasses.replace(
                common,
                timeout_seconds=self._timeout(config),
                resources=_resources(config),
                policy=self._policy(config),
                priority=_priority(config),
            )
        except _RefusedError as error:
            refused = Rejection(
                reason=Reason.INVALID_CONFIG,
                message=f"Invalid config ({error})",
                violations=(error.violation,),
            )
            return dataclasses.replace(common, refused=refused)

    def _policy(self, config: types_pb2.JobConfig) -> lookup.Policy:
        """Return a row's policy: its own word, else the batch's."""
        value = config.cache_policy
        if value not in self._policies:
            of_batch = self._policies[types_pb2.CACHE_POLICY_UNSPECIFIED]
            with _refusing_the_row():
                cache = options.cache_policy("cache_policy", value)
            self._policies[value] = dataclasses.replace(of_batch, cache=cache or of_batch.cache)
        return self._policies[value]

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


def _check_method_name(name: str) -> None:
    if not name:
        raise _RefusedError("method_name", "is empty")
    if len(name.encode()) > limits.MAX_METHOD_NAME_BYTES:
        raise _RefusedError("method_name", f"is over {limits.MAX_METHOD_NAME_BYTES} bytes")


def _check_function_hash(function_hash: str) -> None:
    if function_hash and not identity.is_hash(function_hash):
        raise _RefusedError("function_hash", _bad_hash(function_hash))
