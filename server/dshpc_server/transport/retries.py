"""Reading rows of a stored batch as requests, to ask for them again.

Promise: a row that named a job names the same one, with its own name, place and priority; what
cannot be run any more is rejected as in every request. Of a config whose policy was ONLY just that
is not asked for again: who retries it wants it run. What a row comes after is not read in its
config: the names there may stand for rows that are not retried.
"""

import functools
import json
from collections.abc import Sequence

from google.protobuf import json_format

from dshpc.v1 import types_pb2
from dshpc_server.batches import request
from dshpc_server.domain import lookup
from dshpc_server.store import records
from dshpc_server.transport import request_rows, requests, sweeps

Row = request.JobRequest | request.RefusedRow


class RetryReader:
    """Makes requests of rows."""

    def __init__(self, reader: requests.RequestReader, *, max_attempts: int) -> None:
        self._reader = reader
        self._policy = lookup.Policy(max_attempts=max_attempts)

    def rows(
        self,
        retried: Sequence[records.RetriableRow],
        upstreams: Sequence[Sequence[request.Upstream]],
    ) -> Sequence[Row]:
        """Return them, by index from 0, each after its upstreams. Meant for a worker thread."""
        reader = self._reader.rows(self._policy)
        return [
            self._row(reader, index, row, after)
            for index, (row, after) in enumerate(zip(retried, upstreams, strict=True))
        ]

    def _row(
        self,
        reader: request_rows.RowReader,
        index: int,
        row: records.RetriableRow,
        upstreams: Sequence[request.Upstream],
    ) -> Row:
        head = types_pb2.MultiJobResult.FromString(row.head)
        if row.job is not None:
            return self._of_job(index, head, row.job, row.priority)
        sweep_index = head.sweep_index if head.HasField("sweep_index") else None
        config = _config(row.config or b"")
        asked = sweeps.plain(index, head.config_index, config, sweep_index)
        return reader.read(asked, upstreams)

    def _of_job(
        self,
        index: int,
        head: types_pb2.MultiJobResult,
        wanted: records.RetriedJob,
        priority: int | None,
    ) -> request.JobRequest:
        spec = wanted.spec
        head.index = index
        head.function_hash = spec.function_hash
        head.ClearField("job_id")
        head.ClearField("duplicate_of_index")
        parameters = json.loads(spec.parameters_json)
        return request.JobRequest(
            index=index,
            config_index=head.config_index,
            head=head.SerializeToString(),
            method_name=head.method_name,
            function_hash=spec.function_hash,
            inputs=spec.inputs,
            parameters=request.Parameters(value=parameters, canonical=spec.parameters_json),
            resources=request.RequestedResources(
                cpus=wanted.resources.cpus,
                memory_bytes=wanted.resources.memory_bytes,
                gpus=wanted.resources.gpus,
            ),
            timeout_seconds=wanted.timeout_seconds,
            policy=self._policy,
            priority=priority,
            config=functools.partial(_encoded_config, head, wanted, priority),
        )


def _config(encoded: bytes) -> types_pb2.JobConfig:
    config = types_pb2.JobConfig.FromString(encoded)
    if config.cache_policy == types_pb2.CACHE_POLICY_ONLY:
        config.ClearField("cache_policy")
    return config


def _encoded_config(
    head: types_pb2.MultiJobResult, wanted: records.RetriedJob, priority: int | None
) -> bytes:
    """The config of a row that named a job, should it name none this time."""
    spec = wanted.spec
    config = types_pb2.JobConfig(
        config_id=head.config_id,
        method_name=head.method_name,
        function_hash=spec.function_hash,
        priority=priority,
        resources=types_pb2.Resources(
            cpus=wanted.resources.cpus,
            memory_bytes=wanted.resources.memory_bytes,
            gpus=wanted.resources.gpus,
        ),
    )
    config.timeout.FromNanoseconds(int(wanted.timeout_seconds * 1e9))
    json_format.ParseDict(json.loads(spec.parameters_json), config.parameters)
    for name, file_hash in spec.inputs.items():
        config.inputs[name].file_hash = file_hash
    return config.SerializeToString()
