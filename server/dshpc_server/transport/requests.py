"""From request messages to the batch use cases' values.

What is wrong with the request as a whole raises InvalidRequestError and nothing is accepted; what
is wrong with one row rejects that row alone.
"""

from collections.abc import Sequence

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.batches import request, simulation
from dshpc_server.domain import lookup
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import (
    dependencies,
    known,
    limits,
    moments,
    options,
    parameters,
    request_names,
    request_rows,
    sweeps,
)

DEADLINE_MARGIN_SECONDS = 0.5
"""A unary wait ends this long before the caller's deadline, so that the answer arrives."""


class RequestReader:
    """Reads SimulateJobs requests within limits."""

    def __init__(self, limits: limits.Limits) -> None:
        self._limits = limits
        self._parameters = parameters.ParameterReader(limits)

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
        policy = options.policy(asked.options, max_attempts=self._limits.max_attempts)
        reader = self.rows(policy)
        waits = dependencies.Dependencies(asked.jobs, rows.of_configs)
        return request.BatchRequest(
            rows=request.MadeRows(
                rows.total,
                lambda first, last: [
                    reader.read(row, waits.of(row.config_index, row.sweep_index or 0))
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

    def rows(self, policy: lookup.Policy) -> request_rows.RowReader:
        """What reads the rows of one batch with this policy."""
        return request_rows.RowReader(self._limits, self._parameters, policy)


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
