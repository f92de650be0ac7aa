"""GetServerInfo: what there is for jobs, as the engine knows it when it is asked."""

from typing import Any, cast

from dshpc.v1 import server_service_pb2
from dshpc_server.engine import port
from dshpc_server.transport.servicers import server
from support import transport_values


async def test_what_there_is_for_jobs_is_what_the_engine_knows_by_now() -> None:
    known = [
        port.Capacity(cpus=2**40, memory_bytes=2**80, gpus=0, queued_jobs=10),  # nothing yet
        port.Capacity(cpus=64, memory_bytes=2**40, gpus=0, queued_jobs=10, longest_seconds=600.0),
    ]
    serving = server.ServerServicer(
        engine_name="slurm",
        store_name="sqlite",
        capacity=lambda: known.pop(0),
        limits=transport_values.LIMITS,
    )
    told = []
    for _ in range(2):
        info = await serving.get_server_info(
            server_service_pb2.GetServerInfoRequest(), cast("Any", None)
        )
        limits = info.limits
        told.append((info.slots, limits.memory_bytes, limits.max_timeout_seconds))
    longest = int(transport_values.LIMITS.max_timeout_seconds)
    assert longest > 600
    assert told == [(2**31 - 1, 2**63 - 1, longest), (64, 2**40, 600)]
